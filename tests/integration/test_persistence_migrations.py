"""The tables as the migrations make them, on SQLite and on PostgreSQL."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Inspector, inspect, text

from services.persistence.database import Database, open_database
from services.persistence.migrating import migrate, migration_config
from services.persistence.models import Base
from services.persistence.settings import PersistenceSettings
from tests.integration.persistence_database import KINDS, happen, indexed, migrated, settings_of, stored

REPLICAS: Final = 4
VERSIONS: Final = "alembic_version"


@pytest.fixture(params=KINDS)
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PersistenceSettings]:
    """A database with nothing in it."""
    with settings_of(request.param, tmp_path, empty=True) as chosen:
        yield chosen


@pytest.fixture
def database(settings: PersistenceSettings) -> Iterator[Database]:
    with migrated(settings) as opened:
        yield opened


def tables(database: Database) -> set[str]:
    return set(inspect(database.reads).get_table_names()) - {VERSIONS}


def schema(database: Database) -> dict[str, Any]:
    """Return everything that a table is made of, as the database tells it."""
    found = inspect(database.reads)
    return {table: described(found, table) for table in found.get_table_names() if table != VERSIONS}


def described(found: Inspector, table: str) -> dict[str, Any]:
    columns = [
        {name: str(column[name]) for name in ("name", "type", "nullable", "default")}
        for column in found.get_columns(table)
    ]
    indexes = sorted((str(index["name"]), str(index["column_names"])) for index in found.get_indexes(table))
    return {"columns": columns, "indexes": indexes, "key": str(found.get_pk_constraint(table))}


def steps(connection: Connection) -> list[str]:
    """Return every migration, the first one first."""
    scripts = ScriptDirectory.from_config(migration_config(connection))
    return [script.revision for script in scripts.walk_revisions()][::-1]


def test_the_models_are_what_the_migrations_make(database: Database) -> None:
    with database.writes.begin() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []


def test_every_migration_can_be_taken_back_and_applied_again(database: Database) -> None:
    """Each one alone, so that a release can be taken back without those before it."""
    whole = schema(database)
    with database.writes.begin() as connection:
        config = migration_config(connection)
        for _ in steps(connection):
            command.downgrade(config, "-1")
            command.upgrade(config, "+1")
            command.downgrade(config, "-1")
    assert tables(database) == set()
    migrate(database.writes, patience_seconds=0)
    assert schema(database) == whole
    happen(database, *indexed("handbook-7", 3))
    assert stored(database).status == "indexed"


def test_replicas_that_start_at_the_same_time_migrate_once(settings: PersistenceSettings) -> None:
    """INVARIANT: replicas may start together. Without the lock two would create the same table, and one would fail."""
    replicas = [open_database(settings) for _ in range(REPLICAS)]
    together = threading.Barrier(REPLICAS)
    failures: list[BaseException] = []

    def start(replica: Database) -> None:
        try:
            together.wait()
            migrate(replica.writes, patience_seconds=5)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=start, args=(replica,)) for replica in replicas]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert "documents" in tables(replicas[0])
    with replicas[0].reads.connect() as connection:
        assert len(connection.execute(text(f"SELECT version_num FROM {VERSIONS}")).all()) == 1
    for replica in replicas:
        replica.close()


def test_a_replica_that_dies_while_it_migrates_leaves_nothing_half_done(settings: PersistenceSettings) -> None:
    dying, living = open_database(settings), open_database(settings)
    connection = dying.writes.connect()
    connection.begin()
    command.upgrade(migration_config(connection), "head")
    # What the server sees of a killed process: its connection ends, and nothing was committed.
    connection.invalidate()
    connection.close()
    assert tables(living) == set()
    migrate(living.writes, patience_seconds=5)
    happen(living, *indexed("handbook-7", 3))
    assert stored(living).status == "indexed"
    for replica in (dying, living):
        replica.close()


def test_a_database_of_a_newer_release_is_used_as_it_is(database: Database) -> None:
    """In a rolling upgrade a replica of the old release may restart after the new one has migrated."""
    with database.writes.begin() as connection:
        connection.execute(text(f"UPDATE {VERSIONS} SET version_num = '9999'"))
    migrate(database.writes, patience_seconds=0)
    happen(database, *indexed("d", 3))


@pytest.mark.parametrize("settings", ["postgresql"], indirect=True)
def test_ids_sort_by_their_bytes_whatever_the_locale_of_the_server(database: Database) -> None:
    """SQLite does by itself; a server may have any locale, and pages would then come in another order."""
    query = text(
        "SELECT table_name, column_name, collation_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND column_name IN ('tenant', 'document_id', 'collection', 'key')"
        f" AND table_name <> '{VERSIONS}'"
    )
    with database.reads.connect() as connection:
        rows = connection.execute(query).all()
    assert rows
    assert {row.collation_name for row in rows} == {"C"}
