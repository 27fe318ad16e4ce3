"""Migrations only add: while a release takes the place of the last one, both work on the same tables."""

from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import pytest
import sqlalchemy as sa
from alembic import command, op
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, Table

from services.persistence.database import Database, open_database
from services.persistence.migrating import DOCUMENT_MIGRATIONS, SPAN_MIGRATIONS, Migrations, migration_config
from tests.integration.persistence_database import KINDS, settings_of
from tests.unit.persistence.histories import AT

ALL: Final = (DOCUMENT_MIGRATIONS, SPAN_MIGRATIONS)
VALUES: Final[dict[type, Any]] = {
    str: "x",
    int: 7,
    float: 0.5,
    bool: True,
    bytes: b"x",
    datetime: AT,
    date: AT,
    object: {"x": 1},
}


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database with nothing in it."""
    with settings_of(request.param, tmp_path, empty=True) as settings:
        opened = open_database(settings)
        yield opened
        opened.close()


def steps(connection: Connection, migrations: Migrations) -> list[str]:
    scripts = ScriptDirectory.from_config(migration_config(connection, migrations))
    return [script.revision for script in scripts.walk_revisions()][::-1]


def tables(connection: Connection) -> dict[str, Table]:
    """Return the tables as the database tells them now, by name."""
    found = MetaData()
    found.reflect(connection)
    return {name: table for name, table in found.tables.items() if not name.startswith("alembic_version")}


def row(table: Table) -> dict[str, Any]:
    """Return a value for each column."""
    return {column.name: VALUES[column.type.python_type] for column in table.columns}


def still_works(connection: Connection, table: Table) -> str | None:
    """Write, read, change and remove a row of a table as it was; return what the database says against it."""
    try:
        with connection.begin_nested():
            connection.execute(table.insert().values(row(table)))
            found = connection.execute(table.select()).mappings().one()
            assert set(found) == set(row(table))
            connection.execute(table.update().values(row(table)))
            connection.execute(table.delete())
    except sa.exc.DBAPIError as error:
        return f"{table.name}: {error.orig}"
    return None


def refused(connection: Connection, before: dict[str, Table]) -> list[str]:
    """Return what of the tables as they were is refused now: a row in itself, or a second one beside it."""
    now = tables(connection)
    rows = [problem for table in before.values() if (problem := still_works(connection, table))]
    narrower = {name: unique(now[name]) - unique(table) for name, table in before.items() if name in now}
    return rows + [f"{name}: unique now by {sorted(added)}" for name, added in narrower.items() if added]


def unique(table: Table) -> set[str]:
    return {str(index.name) for index in table.indexes if index.unique}


@pytest.mark.parametrize("migrations", ALL, ids=lambda one: one.version_table)
def test_what_a_release_says_to_its_tables_works_after_the_next_migration(
    database: Database, migrations: Migrations
) -> None:
    """INVARIANT: a rolling update runs two releases on one database, the older one without knowing of the migration.

    A column that is dropped, renamed, or must be given and has no default fails every write of the older one.
    """
    with database.writes.begin() as connection:
        config = migration_config(connection, migrations)
        for step in steps(connection, migrations):
            before = tables(connection)
            command.upgrade(config, step)
            assert refused(connection, before) == [], f"migration {step}"
        assert refused(connection, tables(connection)) == []


DROPS: Final[dict[str, Callable[[str], Any]]] = {
    "a column is dropped": lambda table: op.drop_column(table, "name"),
    "a column is renamed": lambda table: op.alter_column(table, "name", new_column_name="label"),
    "a column has to be given": lambda table: op.add_column(table, sa.Column("colour", sa.Text, nullable=False)),
    "rows have to differ": lambda table: op.create_index("ix_things_name", table, ["name"], unique=True),
    "the table is renamed": lambda table: op.rename_table(table, "things_of_today"),
    "the table is dropped": op.drop_table,
}


@pytest.mark.parametrize("change", DROPS)
def test_a_migration_that_takes_something_away_is_found(database: Database, change: str) -> None:
    """Without this the test above could pass on anything."""
    with database.writes.begin() as connection:
        sa.Table(
            "things", MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.Text)
        ).create(connection)
        before = tables(connection)
        assert refused(connection, before) == []
        with Operations.context(MigrationContext.configure(connection)):
            DROPS[change]("things")
        assert refused(connection, before) != []
