"""What is read of documents that are in no final state, of all tenants, in pages."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, or_, select, tuple_

from services.persistence.comparison import DocumentKey
from services.persistence.models import DOCUMENTS

_COLUMNS = DOCUMENTS.c
_UNFINISHED = or_(_COLUMNS.status.in_(("accepted", "processing")), _COLUMNS.ahead.is_not(None))
_SELECT = select(
    _COLUMNS.tenant,
    _COLUMNS.document_id,
    _COLUMNS.revision,
    _COLUMNS.chunks,
    _COLUMNS.chunks_indexed,
    _COLUMNS.ahead,
    _COLUMNS.updated_at,
).where(_UNFINISHED)


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A revision that is neither indexed nor failed nor deleted; `ahead` when intake has not seen its message."""

    tenant: str
    document_id: str
    revision: int
    ahead: bool
    chunks: int
    chunks_indexed: int
    updated_at: datetime

    @property
    def key(self) -> DocumentKey:
        """Return what tells documents apart."""
        return self.tenant, self.document_id


def unfinished_after(connection: Connection, after: DocumentKey, limit: int) -> list[Unfinished]:
    """Return documents that come after a tenant and id, in this order."""
    later = (_COLUMNS.tenant > after[0]) | ((_COLUMNS.tenant == after[0]) & (_COLUMNS.document_id > after[1]))
    return _read(connection, _SELECT.where(later).order_by(_COLUMNS.tenant, _COLUMNS.document_id).limit(limit))


def unfinished_among(connection: Connection, keys: Collection[DocumentKey]) -> list[Unfinished]:
    """Return those of the documents that are unfinished."""
    return _read(connection, _SELECT.where(tuple_(_COLUMNS.tenant, _COLUMNS.document_id).in_(list(keys))))


def _read(connection: Connection, statement: Select[Any]) -> list[Unfinished]:
    return [_unfinished(row) for row in connection.execute(statement)]


def _unfinished(row: Row[Any]) -> Unfinished:
    # What is ahead outdates what is present.
    ahead = row.ahead or {}
    return Unfinished(
        tenant=row.tenant,
        document_id=row.document_id,
        revision=ahead.get("revision", row.revision),
        ahead=bool(ahead),
        chunks=ahead.get("chunks", row.chunks),
        chunks_indexed=ahead.get("chunks_indexed", row.chunks_indexed),
        updated_at=row.updated_at,
    )
