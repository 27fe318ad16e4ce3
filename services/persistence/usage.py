"""What a tenant uses of its quota, added up from the documents themselves: no counter that could come to differ."""

from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, case, func, or_, select

from contracts.reads import DocumentUsage, Usage, UsageQuery, UsageReply
from services.persistence.models import DOCUMENTS

_UNDER_WAY: Final = ("accepted", "processing", "indexed")
_PAST_THE_PARSER: Final = ("processing", "indexed")
# Every status of a document that may count.
_COUNTED: Final = (*_UNDER_WAY, "failed")
_NUL: Final = "\x00"
_COLUMNS = DOCUMENTS.c
_SHOWN = _COLUMNS.visible_revision > 0
_LARGER = case((_COLUMNS.size_bytes > _COLUMNS.visible_bytes, _COLUMNS.size_bytes), else_=_COLUMNS.visible_bytes)


def _counts(statuses: tuple[str, ...]) -> ColumnElement[bool]:
    return or_(_COLUMNS.status.in_(statuses), _SHOWN)


def _bytes(statuses: tuple[str, ...]) -> ColumnElement[int]:
    """The larger size while a revision of these statuses may replace the one that is shown, else that one's."""
    return case((_COLUMNS.status.in_(statuses), _LARGER), else_=_COLUMNS.visible_bytes)


def _sums(statuses: tuple[str, ...], name: str) -> list[ColumnElement[Any]]:
    counted = case((_counts(statuses), 1), else_=0)
    return [
        func.coalesce(func.sum(counted), 0).label(f"{name}_documents"),
        func.coalesce(func.sum(_bytes(statuses)), 0).label(f"{name}_bytes"),
    ]


_SUMS = [*_sums(_UNDER_WAY, "used"), *_sums(_PAST_THE_PARSER, "admitted")]
_EACH = [
    _COLUMNS.document_id,
    _bytes(_UNDER_WAY).label("used_bytes"),
    case((_counts(_PAST_THE_PARSER), _bytes(_PAST_THE_PARSER))).label("admitted_bytes"),
]


def usage(connection: Connection, query: UsageQuery) -> UsageReply:
    """Return what counts against the quota of a tenant, and what those of its documents count that were asked for."""
    mine = and_(_COLUMNS.tenant == query.tenant, _COLUMNS.status.in_(_COUNTED))
    row = connection.execute(select(*_SUMS).where(mine)).one()
    wanted = [document_id for document_id in query.documents if _NUL not in document_id]
    each = select(*_EACH).where(mine, _COLUMNS.document_id.in_(wanted), _counts(_UNDER_WAY))
    return UsageReply(
        used=Usage(documents=int(row.used_documents), size_bytes=int(row.used_bytes)),
        admitted=Usage(documents=int(row.admitted_documents), size_bytes=int(row.admitted_bytes)),
        of=[
            DocumentUsage(document_id=one.document_id, size_bytes=one.used_bytes, admitted_bytes=one.admitted_bytes)
            for one in (connection.execute(each) if wanted else ())
        ],
    )
