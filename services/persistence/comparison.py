"""Where database and index differ: pure comparison of what both say about the same revisions."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from contracts.reconciliation import DifferenceKind, IndexFence, StoredRevision

DocumentKey: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the database says of a document; `ahead` is a later revision whose message intake has not seen, 0 = none."""

    tenant: str
    document_id: str
    revision: int
    deleted: bool
    visible_revision: int
    visible_chunks: int
    ahead: int = 0

    @property
    def key(self) -> DocumentKey:
        """Return what tells documents apart."""
        return self.tenant, self.document_id


@dataclass(frozen=True, slots=True)
class Difference:
    """`expected` is what the database says, `found` what the index holds: points, or for a fence its number.

    `fence` is what a fence that is too low must become.
    """

    kind: DifferenceKind
    tenant: str
    document_id: str | None
    revision: int
    expected: int
    found: int
    collection: str | None = None
    fence: IndexFence | None = None

    @property
    def identity(self) -> tuple[str, str, str | None, str | None, int]:
        """Return what stays the same when the difference is looked at again."""
        return self.kind, self.tenant, self.document_id, self.collection, self.revision


def compare(
    shown: Iterable[Recorded],
    stored: Iterable[StoredRevision],
    documents: Mapping[DocumentKey, Recorded],
    *,
    recorded: int,
) -> Iterator[Difference]:
    """Yield how the index differs for some revisions.

    `shown` are the documents that the database says the index shows with one of these revisions, `stored` what the
    index holds of them, and `documents` what is known of their owners. Intake has seen every message up to `recorded`.
    """
    found = {}
    for entry in stored:
        found[(entry.tenant, entry.document_id, entry.revision)] = entry.points
        if is_orphan(entry, documents.get((entry.tenant, entry.document_id)), recorded):
            yield Difference("orphan", entry.tenant, entry.document_id, entry.revision, 0, entry.points)
    for document in shown:
        points = found.get((*document.key, document.visible_revision), 0)
        if points != document.visible_chunks:
            kind: DifferenceKind = "lost" if points < document.visible_chunks else "surplus"
            yield Difference(kind, *document.key, document.visible_revision, document.visible_chunks, points)


def is_orphan(entry: StoredRevision, document: Recorded | None, recorded: int) -> bool:
    """Tell whether no search will ever show these points and nobody else will come to remove them.

    Revisions only rise: what is outdated once stays so, while a revision that is not known yet may be on its way.
    """
    if document is None:
        return entry.revision <= recorded
    if document.deleted:
        return entry.revision <= document.revision
    kept = {document.visible_revision, document.ahead}
    return entry.revision < document.revision and entry.revision not in kept


def wanted_fence(document: Recorded) -> IndexFence | None:
    """Return the least that the fence of a document must say, None when nothing follows from its state."""
    floor = document.revision if document.deleted else 0
    if not floor and not document.visible_revision:
        return None
    return IndexFence(
        tenant=document.tenant, document_id=document.document_id, visible=document.visible_revision, floor=floor
    )


def fence_differences(wanted: Iterable[IndexFence], behind: Iterable[IndexFence]) -> Iterator[Difference]:
    """Yield the fences that are too low; `behind` are those fences as they are."""
    lower = {_owner(fence): fence for fence in behind}
    for fence in wanted:
        known = lower.get(_owner(fence))
        if known is not None:
            number, found = (fence.floor, known.floor) if known.floor < fence.floor else (fence.visible, known.visible)
            yield Difference("fence", fence.tenant, fence.document_id, number, number, found, fence.collection, fence)


def _owner(fence: IndexFence) -> tuple[str, str | None, str | None]:
    return fence.tenant, fence.document_id, fence.collection
