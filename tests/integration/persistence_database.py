"""A migrated database of a test's own: SQLite, or PostgreSQL where `RAG_TEST_POSTGRES_URL` names a server."""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from services.persistence.database import Database, open_database
from services.persistence.document import Document
from services.persistence.events import DocumentEvent
from services.persistence.migrating import migrate
from services.persistence.recording import record
from services.persistence.settings import PersistenceSettings
from services.persistence.store import load, remember_key
from tests.unit.persistence.histories import AT, About

T = TypeVar("T")
POSTGRES = os.environ.get("RAG_TEST_POSTGRES_URL")
KINDS = [
    "sqlite",
    pytest.param(
        "postgresql",
        marks=[
            pytest.mark.connected,
            pytest.mark.skipif(not POSTGRES, reason="RAG_TEST_POSTGRES_URL names no PostgreSQL server"),
        ],
    ),
]


@contextmanager
def empty_postgresql() -> Iterator[str]:
    """Make a database of the test's own on the server, and drop it."""
    name = f"rag_test_{uuid.uuid4().hex}"
    url = make_url(POSTGRES or "").set(drivername="postgresql+psycopg")
    server = create_engine(url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        yield url.set(drivername="postgresql", database=name).render_as_string(hide_password=False)
    finally:
        with server.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        server.dispose()


@contextmanager
def settings_of(kind: str, data: Path) -> Iterator[PersistenceSettings]:
    """Return the settings of an empty database."""
    if kind == "sqlite":
        yield PersistenceSettings(data_dir=data)
        return
    with empty_postgresql() as url:
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
