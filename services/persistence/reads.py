"""What is read: documents, collections, idempotency keys, counts. Every query names its tenant."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, func, literal, select, true, tuple_

from contracts.reads import (
    CollectionList,
    CollectionsQuery,
    CollectionView,
    DocumentListQuery,
    DocumentOrder,
    DocumentPage,
    DocumentQuery,
    DocumentView,
    IdempotencyQuery,
    IdempotencyRecord,
    IdempotencyReply,
)
from services.persistence.cursor import read_cursor, read_moment, write_cursor, write_moment
from services.persistence.models import DEAD_LETTERS, DOCUMENTS, IDEMPOTENCY_KEYS
from services.persistence.rows import view_of
from shared.errors import NotFound

_LISTED = ("accepted", "processing", "indexed", "failed")
_NUL = "\x00"


def document(connection: Connection, query: DocumentQuery) -> DocumentView:
    """Return a document, a deleted one too; NotFound for one that intake has not seen."""
    row = connection.execute(
        select(DOCUMENTS).where(
            DOCUMENTS.c.tenant == query.tenant,
            DOCUMENTS.c.document_id == _storable(query.document_id),
            DOCUMENTS.c.status.is_not(None),
        )
    ).first()
    if row is None:
        raise NotFound(f"no document {query.document_id!r}")
    return view_of(row)


def documents(connection: Connection, query: DocumentListQuery, max_bytes: int) -> DocumentPage:
    """Return a page of documents that is at most `limit` long and not much over `max_bytes`, at least one of them."""
    rows = connection.execute(_list_statement(query)).all()
    items = _within(max_bytes, rows[: query.limit])
    more = len(rows) > len(items)
    return DocumentPage(items=items, next_cursor=_cursor_after(items[-1], query.order) if more else None)


def collections(connection: Connection, query: CollectionsQuery) -> CollectionList:
    """Return the collections that have documents; NotFound (`collection_not_found`) when the named one has none."""
    statement = (
        select(
            DOCUMENTS.c.collection,
            DOCUMENTS.c.status,
            func.count().label("documents"),
            func.sum(DOCUMENTS.c.visible_chunks).label("chunks"),
        )
        .where(DOCUMENTS.c.tenant == query.tenant, DOCUMENTS.c.status.in_(_LISTED))
        .group_by(DOCUMENTS.c.collection, DOCUMENTS.c.status)
        .order_by(DOCUMENTS.c.collection, DOCUMENTS.c.status)
    )
    if query.name is not None:
        statement = statement.where(DOCUMENTS.c.collection == _storable(query.name))
    items = _collection_views(connection.execute(statement).all())
    if query.name is not None and not items:
        raise NotFound(f"no collection {query.name!r}", code="collection_not_found", field="collection")
    return CollectionList(items=items)


def idempotency_keys(connection: Connection, query: IdempotencyQuery, not_before: datetime) -> IdempotencyReply:
    """Return what those keys were used for that were first seen since a moment."""
    keys = IDEMPOTENCY_KEYS.c
    wanted = [key for key in query.keys if _NUL not in key]
    rows = connection.execute(
        select(keys.key, keys.document_id, keys.collection, keys.revision, keys.digest).where(
            keys.tenant == query.tenant, keys.key.in_(wanted), keys.created_at >= not_before
        )
    )
    return IdempotencyReply(records=[IdempotencyRecord.model_validate(dict(row._mapping)) for row in rows])


def is_buried(connection: Connection, consumer: str, stream: str, sequence: int) -> bool:
    """Tell whether a message of a stream became a dead letter of that consumer."""
    letters = DEAD_LETTERS.c
    found = connection.execute(
        select(letters.sequence)
        .where(letters.consumer == consumer, letters.stream == stream, letters.stream_sequence == sequence)
        .limit(1)
    )
    return found.first() is not None


def totals(connection: Connection) -> tuple[int, int]:
    """Return how many documents of all tenants are there, and how many chunks of them the index shows."""
    statement = select(func.count(), func.coalesce(func.sum(DOCUMENTS.c.visible_chunks), 0))
    row = connection.execute(statement.where(DOCUMENTS.c.status.in_(_LISTED))).one()
    return int(row[0]), int(row[1])


def _list_statement(query: DocumentListQuery) -> Select[Any]:
    columns = DOCUMENTS.c
    statement = _ordered(select(DOCUMENTS).where(columns.tenant == query.tenant), query)
    wanted = [query.status] if query.status else _LISTED
    statement = statement.where(columns.status.in_(wanted))
    if query.collection is not None:
        statement = statement.where(columns.collection == _storable(query.collection))
    if query.title is not None:
        shown = func.coalesce(columns.title, columns.document_id)
        statement = statement.where(shown.icontains(query.title, autoescape=True))
    if query.ids is not None:
        statement = statement.where(columns.document_id.in_(query.ids))
    # One more than asked for tells whether there is another page.
    return statement.limit(query.limit + 1)


def _ordered(statement: Select[Any], query: DocumentListQuery) -> Select[Any]:
    columns = DOCUMENTS.c
    if query.order == "id":
        after = columns.document_id > read_cursor(query.cursor) if query.cursor is not None else true()
        return statement.where(after).order_by(columns.document_id)
    if query.cursor is not None:
        moment, identity = read_moment(query.cursor)
        place = tuple_(literal(moment, columns.created_at.type), literal(identity, columns.document_id.type))
        statement = statement.where(tuple_(columns.created_at, columns.document_id) < place)
    return statement.order_by(columns.created_at.desc(), columns.document_id.desc())


def _cursor_after(view: DocumentView, order: DocumentOrder) -> str:
    return write_cursor(view.id) if order == "id" else write_moment(view.created_at, view.id)


def _within(max_bytes: int, rows: Iterable[Row[Any]]) -> list[DocumentView]:
    items: list[DocumentView] = []
    size = 0
    for row in rows:
        view = view_of(row)
        size += len(view.model_dump_json())
        if items and size > max_bytes:
            break
        items.append(view)
    return items


def _collection_views(rows: Iterable[Row[Any]]) -> list[CollectionView]:
    by_name: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        by_name[row.collection].append(row)
    return [
        CollectionView(
            name=name,
            documents=sum(row.documents for row in group),
            chunks=sum(int(row.chunks) for row in group),
            by_status={row.status: row.documents for row in group},
        )
        for name, group in by_name.items()
    ]


def _storable(text: str) -> str:
    """Return an id to look for; one that holds NUL is never stored, and PostgreSQL refuses even the question."""
    if _NUL in text:
        raise NotFound(f"nothing is called {text!r}")
    return text
