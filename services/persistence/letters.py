"""Dead letters in the database: listed, found, removed. Every query that answers somebody names its tenant."""

from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, delete, func, select

from contracts.dead_letters import DeadLetterListQuery, DeadLetterPage, DeadLetterView
from services.persistence.cursor import read_sequence, write_sequence
from services.persistence.dead_letter import DeadLetter
from services.persistence.models import DEAD_LETTERS, DOCUMENTS
from shared.errors import NotFound
from shared.telemetry import trace_id_in

_LETTER = DEAD_LETTERS.c
_SUMMARY = (
    _LETTER.sequence,
    _LETTER.consumer,
    _LETTER.subject,
    _LETTER.code,
    _LETTER.reason,
    _LETTER.field,
    _LETTER.error,
    _LETTER.deliveries,
    _LETTER.document_id,
    _LETTER.revision,
    _LETTER.traceparent,
    _LETTER.object_name,
    _LETTER.created_at,
    func.length(_LETTER.payload).label("size_bytes"),
)
_FIELDS = tuple(field.name for field in fields(DeadLetter))


@dataclass(frozen=True, slots=True)
class KnownDocument:
    """The highest revision that is known of a document, 0 without one, and its collection."""

    revision: int
    collection: str | None


def page(connection: Connection, query: DeadLetterListQuery, max_bytes: int) -> DeadLetterPage:
    """Return a page of letters that is at most `limit` long and not much over `max_bytes`, at least one of them."""
    rows = connection.execute(_list_statement(query)).all()
    items: list[DeadLetterView] = []
    size = 0
    for row in rows[: query.limit]:
        view = _view_of(row)
        size += len(view.model_dump_json())
        if items and size > max_bytes:
            break
        items.append(view)
    more = len(rows) > len(items)
    return DeadLetterPage(items=items, next_cursor=write_sequence(items[-1].seq) if more else None)


def find(connection: Connection, tenant: str, sequence: int) -> DeadLetter:
    """Return a letter; NotFound (`dead_letter_not_found`) when the tenant has none of this number."""
    row = connection.execute(select(DEAD_LETTERS).where(_is(tenant, sequence))).first()
    if row is None:
        raise _no_letter(sequence)
    return DeadLetter(**{name: getattr(row, name) for name in _FIELDS})


def document_of(connection: Connection, letter: DeadLetter) -> KnownDocument:
    """Return what is known of a letter's document; NotFound when the letter is gone."""
    of_letter = select(_LETTER.sequence).where(_is(letter.tenant, letter.sequence))
    if connection.execute(of_letter).first() is None:
        raise _no_letter(letter.sequence)
    row = connection.execute(
        select(DOCUMENTS.c.revision, DOCUMENTS.c.ahead, DOCUMENTS.c.collection).where(
            DOCUMENTS.c.tenant == letter.tenant, DOCUMENTS.c.document_id == letter.document_id
        )
    ).first()
    if row is None:
        return KnownDocument(0, None)
    return KnownDocument(max(row.revision, row.ahead["revision"] if row.ahead else 0), row.collection)


def remove(connection: Connection, letter: DeadLetter) -> None:
    """Remove a letter; one that is gone already is fine."""
    connection.execute(delete(DEAD_LETTERS).where(_is(letter.tenant, letter.sequence)))


def _is(tenant: str, sequence: int) -> ColumnElement[bool]:
    return (_LETTER.tenant == tenant) & (_LETTER.sequence == sequence)


def _no_letter(sequence: int) -> NotFound:
    return NotFound(
        f"there is no dead letter {sequence}; it may have been replayed or discarded",
        code="dead_letter_not_found",
        field="seq",
    )


def remove_before(connection: Connection, sequence: int, at_most: int) -> int:
    """Remove the oldest letters from before a place in the DEAD stream, at most so many; return how many went."""
    old = select(_LETTER.sequence).where(_LETTER.sequence < sequence).order_by(_LETTER.sequence).limit(at_most)
    return connection.execute(delete(DEAD_LETTERS).where(_LETTER.sequence.in_(old))).rowcount


def _list_statement(query: DeadLetterListQuery) -> Select[Any]:
    statement = select(*_SUMMARY).where(_LETTER.tenant == query.tenant)
    if query.consumer is not None:
        statement = statement.where(_LETTER.consumer == query.consumer)
    if query.code is not None:
        statement = statement.where(_LETTER.code == query.code)
    if query.document_id is not None:
        statement = statement.where(_LETTER.document_id == query.document_id)
    if query.since is not None:
        statement = statement.where(_LETTER.created_at >= query.since)
    if query.until is not None:
        statement = statement.where(_LETTER.created_at < query.until)
    if query.cursor is not None:
        after = read_sequence(query.cursor)
        statement = statement.where(_LETTER.sequence > after if query.oldest_first else _LETTER.sequence < after)
    order = _LETTER.sequence if query.oldest_first else _LETTER.sequence.desc()
    # One more than asked for tells whether there is another page.
    return statement.order_by(order).limit(query.limit + 1)


def _view_of(row: Row[Any]) -> DeadLetterView:
    return DeadLetterView(
        seq=row.sequence,
        consumer=row.consumer,
        subject=row.subject,
        code=row.code,
        reason=row.reason,
        field=row.field,
        error=row.error,
        deliveries=row.deliveries,
        document_id=row.document_id,
        revision=row.revision,
        trace_id=trace_id_in(row.traceparent),
        size_bytes=None if row.object_name else row.size_bytes,
        created_at=row.created_at,
    )
