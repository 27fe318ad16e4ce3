"""Brings the database to the present schema when the service starts."""

import time
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from services.persistence.database import is_outage, unavailable
from shared.logs import get_logger

log = get_logger(__name__)

MIGRATIONS = Path(__file__).parent / "migrations"
# Any number will do, as long as no other program takes the same lock in this database.
MIGRATION_LOCK = 7_261_001
RETRY_SECONDS = 1.0


def migrate(engine: Engine, *, patience_seconds: float) -> None:
    """Apply what is missing, in one transaction; Unavailable when the database can't be reached in time."""
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            with engine.begin() as connection:
                _upgrade(connection)
            return
        except Exception as error:
            if not is_outage(error):
                raise
            if time.monotonic() > deadline:
                raise unavailable(error) from error
            log.warning("database_not_reached", error=type(error).__name__)
            time.sleep(RETRY_SECONDS)


def _upgrade(connection: Connection) -> None:
    """Let one replica upgrade while the others wait; SQLite's write lock, which is held already, does the same."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
    config = migration_config(connection)
    found = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        # In a rolling upgrade the releases run side by side; migrations only ever add to what the last one knows.
        log.warning("database_of_a_newer_release", found=found)
        return
    command.upgrade(config, "head")


def migration_config(connection: Connection) -> Config:
    """Return what Alembic needs to work on a connection."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
