"""What is written: documents with their batches, idempotency keys, dead letters."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    Connection,
    Insert,
    Table,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from services.persistence.document import Document
from services.persistence.models import DEAD_LETTERS, DOCUMENTS, IDEMPOTENCY_KEYS, INDEXED_BATCHES
from services.persistence.rows import BatchRow, document_of, row_of

_KEY = (DOCUMENTS.c.tenant == bindparam("of_tenant")) & (DOCUMENTS.c.document_id == bindparam("of_document"))
_SELECT_DOCUMENT = select(DOCUMENTS).where(_KEY)
_INSERT_DOCUMENT = insert(DOCUMENTS)
_UPDATE_DOCUMENT = update(DOCUMENTS).where(_KEY)
_BATCHES_OF = (INDEXED_BATCHES.c.tenant == bindparam("of_tenant")) & (
    INDEXED_BATCHES.c.document_id == bindparam("of_document")
)
_SELECT_BATCHES = select(INDEXED_BATCHES.c.revision, INDEXED_BATCHES.c.batch).where(_BATCHES_OF)
_INSERT_BATCH = insert(INDEXED_BATCHES)
_DELETE_BATCHES = delete(INDEXED_BATCHES).where(_BATCHES_OF, INDEXED_BATCHES.c.revision == bindparam("of_revision"))
_LOCK = select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("key"), literal_column("0"))))


def load(connection: Connection, tenant: str, document_id: str) -> Document | None:
    """Return a document, or None; no other transaction changes it until this one ends."""
    if connection.dialect.name == "postgresql":
        # SQLite's one writer has the whole database already. A row lock would not cover a document yet unknown.
        connection.execute(_LOCK, {"key": f"{tenant}\n{document_id}"})
    key = {"of_tenant": tenant, "of_document": document_id}
    row = connection.execute(_SELECT_DOCUMENT, key).first()
    if row is None:
        return None
    counted = row.chunks_indexed or (row.ahead and row.ahead["chunks_indexed"])
    batches: Sequence[BatchRow] = connection.execute(_SELECT_BATCHES, key).all() if counted else ()
    return document_of(row, batches)


def save(connection: Connection, before: Document | None, after: Document) -> None:
    """Store a document that was loaded in the same transaction, and the batches that came or went with it."""
    if before is None:
        connection.execute(_INSERT_DOCUMENT, {**_key_of(after), **row_of(after)})
    else:
        connection.execute(_UPDATE_DOCUMENT, {**_where(after), **row_of(after)})
    _save_batches(connection, before, after)


def remember_key(connection: Connection, row: Mapping[str, Any]) -> None:
    """Store what an idempotency key was used for, unless it was used before."""
    add_new(connection, IDEMPOTENCY_KEYS, row)


def add_new(connection: Connection, table: Table, row: Mapping[str, Any]) -> None:
    """Store a row, unless one of the same key is there."""
    connection.execute(_insert_new(table, connection.dialect.name), row)


def add_dead_letter(connection: Connection, row: Mapping[str, Any]) -> None:
    """Store a dead letter; one of the same number is from a broker that is no more."""
    connection.execute(_insert_or_replace(DEAD_LETTERS, connection.dialect.name), row)


def prune(connection: Connection, table: Table, older_than: datetime, at_most: int) -> int:
    """Remove the oldest rows from before a moment, at most so many; return how many went."""
    key = list(table.primary_key.columns)
    old = select(*key).where(table.c.created_at < older_than).order_by(table.c.created_at).limit(at_most)
    result = connection.execute(delete(table).where(tuple_(*key).in_(old)))
    return result.rowcount


def _save_batches(connection: Connection, before: Document | None, after: Document) -> None:
    known, kept = _batches_of(before), _batches_of(after)
    for revision in known.keys() - kept.keys():
        connection.execute(_DELETE_BATCHES, {**_where(after), "of_revision": revision})
    new = [
        {**_key_of(after), "revision": revision, "batch": batch}
        for revision, done in kept.items()
        for batch in done - known.get(revision, frozenset())
    ]
    if new:
        connection.execute(_INSERT_BATCH, new)


def _batches_of(document: Document | None) -> dict[int, frozenset[int]]:
    if document is None:
        return {}
    known = (document.progress, document.ahead)
    return {progress.revision: progress.done for progress in known if progress is not None and progress.done}


@cache
def _insert_new(table: Table, dialect: str) -> Insert:
    if dialect == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()


@cache
def _insert_or_replace(table: Table, dialect: str) -> Insert:
    statement = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    key = list(table.primary_key.columns)
    new = {column.name: statement.excluded[column.name] for column in table.columns if not column.primary_key}
    return statement.on_conflict_do_update(index_elements=key, set_=new)


def _key_of(document: Document) -> dict[str, Any]:
    return {"tenant": document.tenant, "document_id": document.document_id}


def _where(document: Document) -> dict[str, Any]:
    return {"of_tenant": document.tenant, "of_document": document.document_id}
