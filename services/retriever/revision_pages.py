"""Whole pages of document revisions out of a scan of single points."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from services.retriever.index import DocumentRevision, RevisionPage

# A revision is the place of one message in one stream, so it is that of one document; more would be damage.
MAX_SHARING_A_REVISION: Final = 1_000


class PointRow(NamedTuple):
    """Whose point it is."""

    revision: int
    tenant: str
    document_id: str


def page_of(rows: Sequence[PointRow], limit: int) -> RevisionPage | None:
    """Return the page that a scan of at most `limit` rows in revision order holds.

    A full scan may have cut its last revision, which is left to the next page. None means that one revision alone
    filled the scan and has to be counted by itself.
    """
    counts = Counter(rows)
    if len(rows) < limit:
        return RevisionPage(_entries(counts), None)
    cut = rows[-1].revision
    whole = {row: points for row, points in counts.items() if row.revision < cut}
    return RevisionPage(_entries(whole), max(row.revision for row in whole)) if whole else None


def page_of_one(revision: int, points: Mapping[str, Mapping[str, int]]) -> RevisionPage:
    """Return the page of a single revision that was counted by itself, by tenant and document."""
    counts = {
        PointRow(revision, tenant, document_id): number
        for tenant, documents in points.items()
        for document_id, number in documents.items()
    }
    return RevisionPage(_entries(counts), revision)


def _entries(counts: Mapping[PointRow, int]) -> tuple[DocumentRevision, ...]:
    return tuple(
        DocumentRevision(row.tenant, row.document_id, row.revision, points) for row, points in sorted(counts.items())
    )
