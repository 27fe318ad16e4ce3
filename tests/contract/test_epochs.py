"""Epochs: what searches may show changes them before anybody is told, on every index and through every replica."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, cast

import pytest

from contracts.facts import DocumentDeleted, DocumentIndexed, DocumentSuperseded
from contracts.reconciliation import FencesRequest, IndexFence, RemoveRequest, StoredRevision
from services.retriever.auditing import Auditing
from services.retriever.epochs import MAX_COUNTED, Epochs, OwnEpochs, StoredEpochs
from services.retriever.generations import Catalogue, Generation, Generations
from services.retriever.index import Vector, VectorIndex
from services.retriever.indexing import Indexing
from services.retriever.writing import Writing
from tests.contract.vector_indexes import INDEXES, MODEL, opened, points

# The client's local mode says at every payload index that it has none.
pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")
PLACES = (("acme", None), ("acme", "default"), ("acme", "other"), ("globex", None), ("globex", "default"))


class Replica:
    """A retriever's writing side over an index, and its epochs."""

    def __init__(self, index: VectorIndex, *, shared: bool) -> None:
        self.index = index
        generations = Generations(cast(Catalogue, None), [Generation(MODEL, index)], active=MODEL, next_model=None)
        self.epochs: Epochs = StoredEpochs(generations) if shared else OwnEpochs(generations)
        self.writing = Writing(generations, lambda each: Indexing(each.index, model=MODEL), _no_vectors, self.epochs)
        self.auditing = Auditing(generations, self.epochs)

    async def seen(self) -> dict[tuple[str, str | None], str]:
        return {place: await self.epochs.current(*place) for place in PLACES}


async def _no_vectors(model: str, texts: Sequence[str]) -> list[Vector]:
    raise AssertionError("nothing is embedded here")


@pytest.fixture(params=[(name, shared) for name in INDEXES for shared in (True, False)], ids=str)
async def replicas(request: pytest.FixtureRequest) -> AsyncIterator[list[Replica]]:
    """Two replicas of one index; those that count in memory are one process."""
    name, shared = request.param
    async with opened(name) as open_:
        first = Replica(await open_(), shared=shared)
        yield [first, Replica(await open_(), shared=True)] if shared else [first, first]


async def test_each_change_changes_the_epochs_of_its_places_and_no_others(replicas: list[Replica]) -> None:
    """INVARIANT: deleted is gone, from what was kept as well: the replica that is asked is another one."""
    one, other = replicas
    await one.index.upsert([*points("a", 3, 2), *points("b", 4, 1, collection="other")])
    everything, default, elsewhere = (("acme", None), ("acme", "default"), ("acme", "other"))
    indexed = DocumentIndexed(tenant="acme", document_id="a", revision=3, collection="default", chunks=2)
    superseded = DocumentSuperseded(tenant="acme", document_id="a", revision=2, current_revision=3)
    fences = FencesRequest(fences=[IndexFence(tenant="acme", collection="other", floor=2)])
    removal = RemoveRequest(revisions=[StoredRevision(tenant="acme", document_id="gone", revision=1)])
    deleted = DocumentDeleted(tenant="acme", document_id="a", revision=5)
    acts: list[tuple[Callable[[], Awaitable[Any]], set[tuple[str, str | None]]]] = [
        (lambda: one.writing.clean_up(indexed), {everything, default}),
        (lambda: one.writing.clean_up(superseded), {everything, default}),
        (lambda: one.writing.raise_floor("acme", "b", 9), {everything, elsewhere}),
        (lambda: one.auditing.fences(fences), {everything, default, elsewhere}),
        (lambda: one.auditing.remove(removal), {everything, default, elsewhere}),
        (lambda: one.writing.clean_up(deleted), {everything, default}),
        # Nothing of it is there any more that would tell its collection.
        (lambda: one.writing.clean_up(deleted), {everything, default, elsewhere}),
    ]
    for act, changed in acts:
        before = await other.seen()
        await act()
        after = await other.seen()
        assert {place for place in PLACES if before[place] != after[place]} == changed


async def test_what_changes_nothing_leaves_the_epochs_alone(replicas: list[Replica]) -> None:
    one, other = replicas
    await one.index.upsert(points("a", 3, 2))
    await one.writing.clean_up(
        DocumentIndexed(tenant="acme", document_id="a", revision=3, collection="default", chunks=2)
    )
    before = await other.seen()
    still_shown = DocumentSuperseded(tenant="acme", document_id="a", revision=3, current_revision=4)
    await one.writing.clean_up(still_shown)
    await one.auditing.fences(FencesRequest(fences=[IndexFence(tenant="acme", document_id="a", floor=2)], look=True))
    assert await other.seen() == before


async def test_a_document_that_moves_changes_both_of_its_collections(replicas: list[Replica]) -> None:
    """INVARIANT: no answer shows what no search shows: the fact names the new collection alone."""
    one, other = replicas
    await one.index.upsert([*points("a", 3, 1, collection="other"), *points("a", 4, 1)])
    before = await other.seen()
    await one.writing.clean_up(
        DocumentIndexed(tenant="acme", document_id="a", revision=4, collection="default", chunks=1)
    )
    after = await other.seen()
    assert {place for place in PLACES if before[place] != after[place]} == set(PLACES[:3])


async def test_an_epoch_never_comes_back(replicas: list[Replica]) -> None:
    """INVARIANT: deleted is gone: an epoch that is told again would bring back what was kept under it."""
    seen = []
    for turn in range(20):
        await replicas[turn % 2].epochs.changed("acme", ["default"])
        seen.append(await replicas[(turn + 1) % 2].epochs.current("acme", "default"))
    assert len(set(seen)) == len(seen)


async def test_a_process_that_starts_again_begins_new_epochs() -> None:
    """INVARIANT: deleted is gone: a process that was killed may have hidden something and not counted it."""
    async with opened("memory") as open_:
        index = await open_()
        first, again = Replica(index, shared=False), Replica(index, shared=False)
        assert set((await first.seen()).values()).isdisjoint((await again.seen()).values())


async def test_counting_in_memory_is_bounded() -> None:
    async with opened("memory") as open_:
        epochs = OwnEpochs(
            Generations(cast(Catalogue, None), [Generation(MODEL, await open_())], active=MODEL, next_model=None)
        )
        before = await epochs.current("acme", None)
        for number in range(MAX_COUNTED):
            await epochs.changed(f"tenant-{number}", ["default"])
        assert len(epochs._counts) <= MAX_COUNTED + 2
        assert await epochs.current("acme", None) != before
