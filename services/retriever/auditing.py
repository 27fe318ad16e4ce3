"""What the database's keeper may ask of the indexes: what they hold, which fences are too low, what to remove.

Listings and counts are those of the index that is searched; fences and removals reach every index that is open.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from contracts.reconciliation import (
    FencesReply,
    FencesRequest,
    IndexFence,
    RemoveReply,
    RemoveRequest,
    RevisionsReply,
    RevisionsRequest,
    StoredRevision,
)
from services.retriever.epochs import Epochs
from services.retriever.generations import Generations
from services.retriever.index import Fence, VectorIndex, collection_fence, fenced_collection

WRITES_AT_ONCE: Final = 32


class Auditing:
    """Answers the three requests; each may be repeated."""

    def __init__(self, generations: Generations, epochs: Epochs) -> None:
        self._generations = generations
        self._epochs = epochs

    async def revisions(self, request: RevisionsRequest) -> RevisionsReply:
        """Return a page of what is stored."""
        page = await self._generations.active.index.document_revisions(request.after, request.limit)
        entries = [
            StoredRevision(tenant=each.tenant, document_id=each.document_id, revision=each.revision, points=each.points)
            for each in page.entries
        ]
        return RevisionsReply(entries=entries, next_after=page.next_after)

    async def fences(self, request: FencesRequest) -> FencesReply:
        """Lift fences, or only look, and return those that were lower in any index."""
        wanted = [_fence(each) for each in request.fences]
        behind: dict[tuple[str, str], Fence] = {}
        for generation in self._generations.opened:
            lower = await _lower(generation.index, wanted)
            if not request.look:
                await _raise(generation.index, [each for each in wanted if _key(each) in lower])
            behind |= {key: fence for key, fence in lower.items() if key not in behind}
        if not request.look:
            # Also for fences that stood already: whoever raised them may have been killed before it could say so.
            await self._changed(each.tenant for each in request.fences)
        return FencesReply(behind=[_told(fence) for fence in behind.values()])

    async def remove(self, request: RemoveRequest) -> RemoveReply:
        """Remove revisions, from the next index last."""
        for generation in self._generations.opened:
            for start in range(0, len(request.revisions), WRITES_AT_ONCE):
                some = request.revisions[start : start + WRITES_AT_ONCE]
                await asyncio.gather(
                    *(generation.index.remove_revision(each.tenant, each.document_id, each.revision) for each in some)
                )
        await self._changed(each.tenant for each in request.revisions)
        return RemoveReply(revisions=len(request.revisions))

    async def _changed(self, tenants: Iterable[str]) -> None:
        for tenant in sorted(set(tenants)):
            await self._epochs.changed(tenant, ())


async def _lower(index: VectorIndex, wanted: Sequence[Fence]) -> dict[tuple[str, str], Fence]:
    """Return the fences, as they are stored, that would have to rise to become the wanted ones."""
    names: defaultdict[str, set[str]] = defaultdict(set)
    for fence in wanted:
        names[fence.tenant].add(fence.document_id)
    stored = {tenant: await index.fences(tenant, found) for tenant, found in names.items()}
    lower: dict[tuple[str, str], Fence] = {}
    for fence in wanted:
        known = stored[fence.tenant].get(fence.document_id, Fence(fence.tenant, fence.document_id))
        if known.raised_to(fence) != known:
            lower[_key(fence)] = known
    return lower


async def _raise(index: VectorIndex, fences: Sequence[Fence]) -> None:
    for start in range(0, len(fences), WRITES_AT_ONCE):
        await asyncio.gather(
            *(
                index.raise_fence(each.tenant, each.document_id, visible=each.visible or None, floor=each.floor or None)
                for each in fences[start : start + WRITES_AT_ONCE]
            )
        )


def _key(fence: Fence) -> tuple[str, str]:
    return fence.tenant, fence.document_id


def _fence(told: IndexFence) -> Fence:
    name = told.document_id if told.collection is None else collection_fence(told.collection)
    assert name is not None, "the message has one or the other"
    return Fence(told.tenant, name, told.visible, told.floor)


def _told(fence: Fence) -> IndexFence:
    collection = fenced_collection(fence.document_id)
    return IndexFence(
        tenant=fence.tenant,
        document_id=fence.document_id if collection is None else None,
        collection=collection,
        visible=fence.visible,
        floor=fence.floor,
    )
