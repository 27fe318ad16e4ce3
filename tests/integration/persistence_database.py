"""A migrated database of a test's own: SQLite, or PostgreSQL (see `tests/postgres.py`)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest
from sqlalchemy import text

from services.persistence.database import Database, open_database
from services.persistence.document import Document
from services.persistence.events import DocumentEvent
from services.persistence.migrating import migrate
from services.persistence.recording import record
from services.persistence.settings import PersistenceSettings
from services.persistence.store import load, remember_key
from tests.postgres import Databases, NoPostgreSQL, shared_databases
from tests.unit.persistence.histories import AT, About

T = TypeVar("T")
KINDS: Final = ("sqlite", "postgresql")


def postgresql() -> Databases:
    """Return the databases of the run's PostgreSQL; skips the test where none can be had."""
    try:
        databases = shared_databases()
    except NoPostgreSQL as error:
        pytest.skip(str(error))
    databases.prepare(lambda url: create_tables(PersistenceSettings(database_url=url)))
    return databases


def create_tables(settings: PersistenceSettings) -> None:
    with migrated(settings):
        pass


@contextmanager
def settings_of(kind: str, data: Path, *, empty: bool = False) -> Iterator[PersistenceSettings]:
    """Return the settings of a database of the test's own; that on PostgreSQL has its tables unless told otherwise."""
    if kind == "sqlite":
        yield PersistenceSettings(data_dir=data)
        return
    with postgresql().database(empty=empty) as url:
        yield PersistenceSettings(data_dir=data, database_url=url)


@contextmanager
def migrated(settings: PersistenceSettings) -> Iterator[Database]:
    """Open a database with its tables."""
    opened = open_database(settings)
    migrate(opened.writes, patience_seconds=0)
    try:
        yield opened
    finally:
        opened.close()


def happen(database: Database, *events: DocumentEvent) -> None:
    for event in events:
        with database.writes.begin() as connection:
            record(connection, [event])


def stored(database: Database, document_id: str = "handbook-7", tenant: str = "acme") -> Document:
    with database.writes.begin() as connection:
        document = load(connection, tenant, document_id)
    assert document is not None
    return document


def ledger(database: Database) -> list[tuple[int, int]]:
    with database.reads.connect() as connection:
        rows = connection.execute(text("SELECT revision, batch FROM indexed_batches ORDER BY revision, batch"))
        return [(row.revision, row.batch) for row in rows]


def ask(database: Database, read: Callable[..., T], **arguments: Any) -> T:
    with database.reads.connect() as connection:
        return read(connection, **arguments)


def indexed(document_id: str, revision: int, collection: str = "default", tenant: str = "acme") -> list[DocumentEvent]:
    about = About(revision, document_id, tenant)
    return [about.accepted(collection), about.parsed(1), about.batch(0)]


def idempotency_row(key: str, revision: int, created_at: datetime = AT, tenant: str = "acme") -> dict[str, Any]:
    return {
        "tenant": tenant,
        "key": key,
        "document_id": f"d{revision}",
        "collection": "default",
        "revision": revision,
        "digest": "0" * 64,
        "created_at": created_at,
    }


def remember(database: Database, *rows: dict[str, Any]) -> None:
    with database.writes.begin() as connection:
        for row in rows:
            remember_key(connection, row)
