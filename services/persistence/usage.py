"""What a tenant uses of its quota, added up from the documents themselves: no counter that could come to differ."""

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Connection, Row, and_, case, func, or_, select

from contracts.reads import DocumentUsage, Usage, UsageQuery, UsageReply
from services.persistence.models import DOCUMENTS

_UNDER_WAY: Final = ("accepted", "processing", "indexed")
_PAST_THE_PARSER: Final = ("processing", "indexed")
# Every status of a document that may count; those of the others only while a revision before is shown.
_COUNTED: Final = (*_UNDER_WAY, "failed")
_NUL: Final = "\x00"
_COLUMNS = DOCUMENTS.c
_SHOWN = _COLUMNS.visible_revision > 0
_LARGER = case((_COLUMNS.size_bytes > _COLUMNS.visible_bytes, _COLUMNS.size_bytes), else_=_COLUMNS.visible_bytes)
# In the order of the index: a group by anything else is three times as slow.
_BY_STATUS = (
    select(
        _COLUMNS.status,
        func.count().label("documents"),
        func.count(case((_SHOWN, 1))).label("shown"),
        func.sum(_COLUMNS.visible_bytes).label("shown_bytes"),
        func.sum(_LARGER).label("larger_bytes"),
    )
    .where(_COLUMNS.status.in_(_COUNTED))
    .group_by(_COLUMNS.status)
)
_EACH = select(
    _COLUMNS.document_id,
    _COLUMNS.status,
    _COLUMNS.visible_revision,
    _COLUMNS.visible_bytes,
    _LARGER.label("larger_bytes"),
).where(or_(_COLUMNS.status.in_(_UNDER_WAY), and_(_COLUMNS.status == "failed", _SHOWN)))


def usage(connection: Connection, query: UsageQuery) -> UsageReply:
    """Return what counts against the quota of a tenant, and what those of its documents count that were asked for."""
    mine = _COLUMNS.tenant == query.tenant
    rows = connection.execute(_BY_STATUS.where(mine)).all()
    wanted = [document_id for document_id in query.documents if _NUL not in document_id]
    each = connection.execute(_EACH.where(mine, _COLUMNS.document_id.in_(wanted))) if wanted else ()
    return UsageReply(
        used=_sum_of(rows, _UNDER_WAY), admitted=_sum_of(rows, _PAST_THE_PARSER), of=[_one(row) for row in each]
    )


def _sum_of(rows: Iterable[Row[Any]], statuses: tuple[str, ...]) -> Usage:
    """Add up the documents of these statuses, each with the larger of its sizes, and what is shown of all others."""
    documents = size_bytes = 0
    for row in rows:
        counts = row.status in statuses
        documents += row.documents if counts else row.shown
        size_bytes += int(row.larger_bytes if counts else row.shown_bytes)
    return Usage(documents=documents, size_bytes=size_bytes)


def _one(row: Row[Any, Any, Any, Any, Any]) -> DocumentUsage:
    past = row.status in _PAST_THE_PARSER
    admitted = row.larger_bytes if past else row.visible_bytes
    return DocumentUsage(
        document_id=row.document_id,
        size_bytes=row.larger_bytes if row.status in _UNDER_WAY else row.visible_bytes,
        admitted_bytes=admitted if past or row.visible_revision > 0 else None,
    )
