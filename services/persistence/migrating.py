"""Brings the database to the present schema when the service starts."""

import time
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from services.persistence.database import is_outage, unavailable
from shared.logs import get_logger

log = get_logger(__name__)

# Any number will do, as long as no other program takes the same lock in this database.
MIGRATION_LOCK = 7_261_001
RETRY_SECONDS = 1.0
FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Migrations:
    """A folder of migrations, and the table in which the database notes how far it has come with them."""

    folder: Path
    version_table: str


DOCUMENT_MIGRATIONS = Migrations(FOLDER / "migrations", "alembic_version")
SPAN_MIGRATIONS = Migrations(FOLDER / "tracing" / "migrations", "alembic_version_spans")


def migrate(engine: Engine, migrations: Migrations = DOCUMENT_MIGRATIONS, *, patience_seconds: float) -> None:
    """Apply what is missing, in one transaction; Unavailable when the database can't be reached in time."""
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            with engine.begin() as connection:
                _upgrade(connection, migrations)
            return
        except Exception as error:
            if not is_outage(error):
                raise
            problem = unavailable(error)
            if time.monotonic() > deadline:
                raise problem from error
            log.warning("database_not_reached", reason=problem)
            time.sleep(RETRY_SECONDS)


def _upgrade(connection: Connection, migrations: Migrations) -> None:
    """Let one replica upgrade while the others wait; SQLite's write lock, which is held already, does the same."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
    config = migration_config(connection, migrations)
    options = {"version_table": migrations.version_table}
    found = MigrationContext.configure(connection, opts=options).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        # In a rolling upgrade the releases run side by side; migrations only ever add to what the last one knows.
        log.warning("database_of_a_newer_release", found=found)
        return
    command.upgrade(config, "head")


def migration_config(connection: Connection, migrations: Migrations = DOCUMENT_MIGRATIONS) -> Config:
    """Return what Alembic needs to work on a connection."""
    config = Config()
    config.set_main_option("script_location", str(migrations.folder).replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["version_table"] = migrations.version_table
    return config
