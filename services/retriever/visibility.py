"""Which hits may be shown, given the fences of their documents."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from services.retriever.collapsing import without_near_copies
from services.retriever.index import Fence, FencedHits, Hit, IndexQuery, collection_fence


class Searchable(Protocol):
    """The part of a VectorIndex that a search needs."""

    async def search_fenced(self, query: IndexQuery) -> FencedHits:
        """Return at most `query.limit` hits, best first, hidden ones included, and the fences to judge them by."""
        ...


def visible_hits(hits: Sequence[Hit], fences: Mapping[str, Fence], limit: int) -> list[Hit]:
    """Return the first `limit` hits that may be shown, in their order; no two show different revisions of a document.

    Nothing of a collection is shown from below the collection's floor. A document with a fully indexed revision shows
    that one alone. Without one (its first indexing goes on, or it was deleted and comes back) it shows the lowest
    revision at or above its floor among these hits: that one is complete first, or is removed for the next one, so that
    what was seen of a later one is not unseen when its fence is raised.
    """
    kept = [hit for hit in hits if hit.revision >= _floor_of_collection(hit, fences)]
    gone = {(hit.document_id, hit.revision) for hit in hits} - {(hit.document_id, hit.revision) for hit in kept}
    shown = _shown_revisions(kept, fences, gone)
    return [hit for hit in kept if shown.get(hit.document_id) == hit.revision][:limit]


def collection_floors(hits: Sequence[Hit], fences: Mapping[str, Fence]) -> dict[str, int]:
    """Return the floors of those collections that hide some of these hits."""
    floors = [(hit, _floor_of_collection(hit, fences)) for hit in hits]
    return {hit.collection: floor for hit, floor in floors if hit.revision < floor}


def _floor_of_collection(hit: Hit, fences: Mapping[str, Fence]) -> int:
    fence = fences.get(collection_fence(hit.collection))
    return fence.floor if fence is not None else 0


def _shown_revisions(
    hits: Sequence[Hit], fences: Mapping[str, Fence], gone: Collection[tuple[str, int]]
) -> dict[str, int]:
    shown: dict[str, int] = {}
    for hit in hits:
        fence = fences.get(hit.document_id)
        if fence is not None and _has_visible(fence) and (hit.document_id, fence.visible) not in gone:
            shown[hit.document_id] = fence.visible
        elif fence is None or hit.revision >= fence.floor:
            shown[hit.document_id] = min(hit.revision, shown.get(hit.document_id, hit.revision))
    return shown


def _has_visible(fence: Fence) -> bool:
    return fence.visible > 0 and fence.visible >= fence.floor


def overtaking_fences(hits: Sequence[Hit], fences: Mapping[str, Fence]) -> set[Fence]:
    """Return the fences of documents whose hits are all older than the revision that is visible by now."""
    newest: dict[str, int] = {}
    for hit in hits:
        newest[hit.document_id] = max(hit.revision, newest.get(hit.document_id, 0))
    return {
        fence
        for document_id, fence in fences.items()
        if _has_visible(fence) and fence.visible > newest.get(document_id, fence.visible)
    }


async def search_visible(index: Searchable, query: IndexQuery, *, max_rounds: int = 4) -> list[Hit]:
    """Return at most `query.limit` hits that may be shown, best first, none a near copy of another of its document.

    Hits that are left out are made up for by looking deeper, twice as deep each time, in at most `max_rounds` searches.
    A collection that was deleted a moment ago may hide any number of hits: the next search leaves it out.
    """
    depth = query.limit + max(8, query.limit // 2)
    known: set[Fence] = set()
    shown: list[Hit] = []
    for _ in range(max_rounds):
        # Its fences are read after the hits, so that every hit is judged by a fence at least as new as itself: what was
        # deleted by then stays hidden, however long the search took.
        found = await index.search_fenced(replace(query, limit=depth))
        hits, fences = found.hits, found.fences
        shown = without_near_copies(visible_hits(hits, fences, len(hits)), query.limit)
        # An update that became visible between the two reads hides the hits of its document; its own are there now.
        overtaking = overtaking_fences(hits, fences) - known
        if not overtaking and (len(shown) == query.limit or len(hits) < depth):
            break
        known |= overtaking
        floors = collection_floors(hits, fences)
        query = replace(query, floors={**query.floors, **floors})
        depth = depth if overtaking or floors else depth * 2
    return shown
