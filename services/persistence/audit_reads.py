"""What a comparison with the index reads, of all tenants, in pages."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Row, Select, func, select, tuple_

from services.persistence.comparison import DocumentKey, Recorded
from services.persistence.models import COLLECTION_DELETES, DOCUMENTS

_COLUMNS = DOCUMENTS.c
_SELECT = select(
    _COLUMNS.tenant,
    _COLUMNS.document_id,
    _COLUMNS.revision,
    _COLUMNS.status,
    _COLUMNS.visible_revision,
    _COLUMNS.visible_chunks,
    _COLUMNS.ahead,
)


def shown_between(connection: Connection, after: int, upto: int | None, limit: int) -> list[Recorded]:
    """Return documents of which the index shows a revision above `after`, in the order of those revisions."""
    statement = _SELECT.where(_COLUMNS.visible_revision > after)
    if upto is not None:
        statement = statement.where(_COLUMNS.visible_revision <= upto)
    return _read(connection, statement.order_by(_COLUMNS.visible_revision).limit(limit))


def known_documents(connection: Connection, keys: Collection[DocumentKey]) -> dict[DocumentKey, Recorded]:
    """Return those of the documents that are known."""
    if not keys:
        return {}
    statement = _SELECT.where(tuple_(_COLUMNS.tenant, _COLUMNS.document_id).in_(list(keys)))
    return {document.key: document for document in _read(connection, statement)}


def deleted_after(connection: Connection, after: DocumentKey, limit: int) -> list[Recorded]:
    """Return deleted documents that come after a tenant and id, in this order."""
    later = (_COLUMNS.tenant > after[0]) | ((_COLUMNS.tenant == after[0]) & (_COLUMNS.document_id > after[1]))
    statement = _SELECT.where(later, _COLUMNS.status == "deleted")
    return _read(connection, statement.order_by(_COLUMNS.tenant, _COLUMNS.document_id).limit(limit))


def highest_revision(connection: Connection) -> int:
    """Return the highest revision that anything is known of, 0 when nothing is."""
    known = connection.execute(select(func.max(_COLUMNS.revision), func.max(_COLUMNS.visible_revision))).one()
    deletes = connection.execute(select(func.max(COLLECTION_DELETES.c.revision))).scalar()
    # Few documents have reports ahead of their message.
    ahead = connection.execute(select(_COLUMNS.ahead).where(_COLUMNS.ahead.is_not(None))).scalars()
    return max(0, *(int(number or 0) for number in (*known, deletes)), *(int(fields["revision"]) for fields in ahead))


def _read(connection: Connection, statement: Select[Any]) -> list[Recorded]:
    return [_recorded(row) for row in connection.execute(statement)]


def _recorded(row: Row[Any]) -> Recorded:
    return Recorded(
        tenant=row.tenant,
        document_id=row.document_id,
        revision=row.revision,
        deleted=row.status == "deleted",
        visible_revision=row.visible_revision,
        visible_chunks=row.visible_chunks,
        ahead=row.ahead["revision"] if row.ahead else 0,
    )
