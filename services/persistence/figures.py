"""What there is of all tenants together, for the gauges: bounded, however many collections anybody makes."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Select, case, func, literal, select

from services.persistence.models import DEAD_LETTERS, DOCUMENTS

OTHER_COLLECTIONS: Final = "_other"
MAX_COLLECTIONS: Final = 20
_SHOWN: Final = ("accepted", "processing", "indexed", "failed")
_UNFINISHED: Final = ("accepted", "processing")
_COLUMNS = DOCUMENTS.c


@dataclass(frozen=True, slots=True)
class Figures:
    """Documents by collection and status, chunks by collection, dead letters.

    The largest collections go by their names, all others are one. `standing_still_since` (unix seconds) is the last
    change of the unfinished document that has had none for longest; None when all are finished.
    """

    documents: Mapping[tuple[str, str], int]
    chunks: Mapping[str, int]
    standing_still_since: float | None
    letters: int


def count(connection: Connection, max_collections: int = MAX_COLLECTIONS) -> Figures:
    """Count everything; costs two passes through an index of the documents."""
    documents: dict[tuple[str, str], int] = {}
    chunks: Counter[str] = Counter()
    for row in connection.execute(_by_collection(_largest(connection, max_collections))):
        documents[row.shown_as, row.status] = row.documents
        chunks[row.shown_as] += int(row.chunks or 0)
    unfinished = any(status in _UNFINISHED for _, status in documents)
    return Figures(
        documents=documents,
        chunks=dict(chunks),
        standing_still_since=_oldest_change(connection) if unfinished else None,
        letters=connection.execute(select(func.count()).select_from(DEAD_LETTERS)).scalar_one(),
    )


def _largest(connection: Connection, at_most: int) -> list[str]:
    statement = (
        select(_COLUMNS.collection)
        .where(_COLUMNS.status.in_(_SHOWN))
        .group_by(_COLUMNS.collection)
        .order_by(func.count().desc(), _COLUMNS.collection)
        .limit(at_most)
    )
    return list(connection.execute(statement).scalars())


def _by_collection(named: list[str]) -> Select[Any]:
    shown_as = case((_COLUMNS.collection.in_(named), _COLUMNS.collection), else_=literal(OTHER_COLLECTIONS))
    counts = func.count().label("documents"), func.sum(_COLUMNS.visible_chunks).label("chunks")
    return (
        select(shown_as.label("shown_as"), _COLUMNS.status, *counts)
        .where(_COLUMNS.status.in_(_SHOWN))
        .group_by("shown_as", _COLUMNS.status)
    )


def _oldest_change(connection: Connection) -> float | None:
    statement = select(func.min(_COLUMNS.updated_at)).where(_COLUMNS.status.in_(_UNFINISHED))
    moment = connection.execute(statement).scalar_one()
    return moment.timestamp() if moment is not None else None
