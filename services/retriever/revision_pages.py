"""Whole pages of document revisions out of a scan of single points."""

from collections import Counter
from collections.abc import Sequence

from services.retriever.index import DocumentRevision, RevisionPage


def page_of(rows: Sequence[tuple[int, str]], limit: int) -> RevisionPage | None:
    """Return the page that a scan of at most `limit` (revision, document id) rows in revision order holds.

    A full scan may have cut its last revision, which is left to the next page. None means that one revision alone
    filled the scan and has to be counted by itself.
    """
    counts = Counter(rows)
    if len(rows) < limit:
        return RevisionPage(_entries(counts), None)
    cut = rows[-1][0]
    whole = Counter({row: points for row, points in counts.items() if row[0] < cut})
    return RevisionPage(_entries(whole), max(revision for revision, _ in whole)) if whole else None


def page_of_one(revision: int, points_by_document: dict[str, int]) -> RevisionPage:
    """Return the page of a single revision that was counted by itself."""
    counts = Counter({(revision, document_id): points for document_id, points in points_by_document.items()})
    return RevisionPage(_entries(counts), revision)


def _entries(counts: Counter[tuple[int, str]]) -> tuple[DocumentRevision, ...]:
    return tuple(
        DocumentRevision(document, revision, points) for (revision, document), points in sorted(counts.items())
    )
