"""What fences keep from being shown, on every adapter of the vector index."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from services.retriever.filters import parse_filter
from services.retriever.index import (
    Fence,
    SearchMode,
    SparseVector,
    VectorIndex,
    collection_fence,
)
from services.retriever.visibility import search_visible
from tests.contract.vector_indexes import (
    INDEXES,
    documents,
    opened,
    point,
    points,
    query,
    revisions,
    vector,
)

# The client's local mode says at every payload index that it has none.
pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")


@pytest.fixture(params=INDEXES)
async def index(request: pytest.FixtureRequest) -> AsyncIterator[VectorIndex]:
    async with opened(request.param) as open_index:
        yield await open_index()


async def test_a_fence_rises_and_never_sinks(index: VectorIndex) -> None:
    await index.raise_fence("acme", "a", visible=5)
    await index.raise_fence("acme", "a", visible=3, floor=4)
    await index.raise_fence("acme", "a", floor=2)
    await index.raise_fence("acme", "b", floor=1)

    assert await index.fences("acme", {"a", "b", "unknown"}) == {
        "a": Fence("acme", "a", visible=5, floor=4),
        "b": Fence("acme", "b", visible=0, floor=1),
    }
    assert await index.fences("acme", set()) == {}


@pytest.mark.parametrize("adapter", INDEXES)
async def test_fences_raised_by_many_writers_at_once_end_at_their_maximum(adapter: str) -> None:
    """INVARIANT: the later write wins; reading, comparing and writing in three steps would lose some of these."""
    async with opened(adapter) as open_index:
        replicas = [await open_index(), await open_index()]
        order = np.random.default_rng(3).permutation(60)
        raises = [
            replicas[number % 2].raise_fence(
                "acme",
                "a" if number % 3 else "b",
                visible=int(number) if number % 2 else None,
                floor=None if number % 2 else int(number),
            )
            for number in order
        ]
        await asyncio.gather(*raises)

        fences = await replicas[0].fences("acme", {"a", "b"})
    assert fences == {"a": Fence("acme", "a", 59, 58), "b": Fence("acme", "b", 57, 54)}


async def test_a_fence_is_neither_found_nor_counted_nor_listed(index: VectorIndex) -> None:
    terms = SparseVector((1,), (1.0,))
    await index.upsert([point("a", sparse=terms)])
    for name in ("a", "b", "c"):
        await index.raise_fence("acme", name, visible=1, floor=1)

    for mode in SearchMode:
        assert documents(await index.search(query(mode=mode, sparse=terms))) == {"a"}
        # A fence has no metadata, so it satisfies every negation.
        without = query(mode=mode, sparse=terms, filter=parse_filter({"not": {"x": 1}}))
        assert documents(await index.search(without)) == {"a"}
    assert await index.count() == 1
    assert len((await index.document_revisions()).entries) == 1
    assert (await index.describe()).chunk_points == 1


async def test_a_removal_leaves_the_fence(index: VectorIndex) -> None:
    await index.upsert(points("a", 1, 2))
    await index.raise_fence("acme", "a", floor=2)

    await index.remove_revisions("acme", "a", below=2)

    assert await index.count() == 0
    assert (await index.fences("acme", {"a"}))["a"].floor == 2


async def test_a_first_indexing_is_searchable_while_it_goes_on(index: VectorIndex) -> None:
    await index.upsert(points("a", 3, 2))

    assert len(await search_visible(index, query())) == 2


async def test_an_update_shows_the_old_revision_until_the_new_one_is_complete(index: VectorIndex) -> None:
    await index.upsert(points("a", 1, 3))
    await index.raise_fence("acme", "a", visible=1)
    await index.upsert(points("a", 2, 2))
    assert revisions(await search_visible(index, query())) == {1}

    await index.raise_fence("acme", "a", visible=2)
    assert revisions(await search_visible(index, query())) == {2}

    await index.remove_revisions("acme", "a", below=2)
    assert revisions(await search_visible(index, query())) == {2}


async def test_no_search_during_updates_mixes_revisions_or_misses_the_document(index: VectorIndex) -> None:
    """INVARIANT: no search result mixes two revisions; without the fence each update shows both for a while."""
    await index.upsert([*points("a", 1, 4), *points("b", 1, 4)])
    await index.raise_fence("acme", "a", visible=1)

    async def update() -> None:
        for revision in range(2, 12):
            for start in range(0, 4, 2):
                await index.upsert(points("a", revision, 4)[start : start + 2])
            await index.raise_fence("acme", "a", visible=revision)
            await index.remove_revisions("acme", "a", below=revision)

    updating = asyncio.create_task(update())
    seen: list[int] = []
    while not updating.done():
        hits = [hit for hit in await search_visible(index, query(), max_rounds=50) if hit.document_id == "a"]
        assert len(revisions(hits)) == 1
        seen.append(hits[0].revision)
        # Local mode never yields by itself, and the update has to move on.
        await asyncio.sleep(0)
    await updating

    assert seen == sorted(seen)
    assert seen[-1] <= 11
    assert 11 in revisions(await search_visible(index, query()))


async def test_a_deleted_document_is_gone_at_once_and_stays_gone(index: VectorIndex) -> None:
    """INVARIANT: deleted is gone; a batch that was in flight during the delete must not bring it back."""
    await index.upsert([*points("a", 1, 3), *points("b", 1, 1)])
    await index.raise_fence("acme", "a", visible=1)

    await index.raise_fence("acme", "a", floor=2)
    assert documents(await search_visible(index, query())) == {"b"}

    await index.remove_revisions("acme", "a", below=2)
    await index.upsert(points("a", 1, 3))
    assert documents(await search_visible(index, query())) == {"b"}


async def test_a_deleted_document_that_comes_back_shows_only_what_came_after(index: VectorIndex) -> None:
    await index.upsert(points("a", 1, 3))
    await index.raise_fence("acme", "a", visible=1)
    await index.raise_fence("acme", "a", floor=2)
    await index.upsert(points("a", 5, 1))

    assert revisions(await search_visible(index, query())) == {5}


async def test_a_deleted_collection_is_gone_at_once_and_what_comes_after_is_there(index: VectorIndex) -> None:
    """INVARIANT: deleted is gone; without the fence of the collection its documents answer until each is removed."""
    await index.upsert([*points("a", 1, 2, collection="old"), *points("b", 2, 2, collection="kept")])
    await index.raise_fence("acme", "a", visible=1)
    await index.raise_fence("acme", "b", visible=2)

    await index.raise_fence("acme", collection_fence("old"), floor=5)
    assert documents(await search_visible(index, query())) == {"b"}
    assert documents(await search_visible(index, query(tenant="acme", collection="old"))) == set()

    await index.upsert([*points("c", 6, 1, collection="old"), *points("a", 7, 1, collection="old")])
    assert documents(await search_visible(index, query())) == {"a", "b", "c"}
    assert revisions(await search_visible(index, query(collection="old"))) == {6, 7}

    await index.upsert(points("late", 4, 1, collection="old"))
    assert "late" not in documents(await search_visible(index, query()))


async def test_the_fence_of_a_collection_is_that_of_one_tenant(index: VectorIndex) -> None:
    await index.upsert([*points("a", 1, 2), *points("a", 1, 2, tenant="other")])

    await index.raise_fence("acme", collection_fence("default"), floor=2)

    assert documents(await search_visible(index, query(tenant="other"))) == {"a"}
    assert await search_visible(index, query()) == []


async def test_a_large_collection_that_was_just_deleted_hides_nothing_of_the_others(index: VectorIndex) -> None:
    """INVARIANT: its points are still there and rank before all others; looking deeper alone would not reach these."""
    near, far = vector(1), vector(2)
    await index.upsert(
        [*points("gone", 1, 600, vector=near, collection="old"), *points("here", 1, 5, vector=near + 0.2 * far)]
    )
    await index.raise_fence("acme", collection_fence("old"), floor=2)

    hits = await search_visible(index, query(vector=near, limit=5))

    assert [hit.document_id for hit in hits] == ["here"] * 5


@pytest.mark.parametrize("mode", list(SearchMode))
async def test_a_search_leaves_out_what_lies_below_the_floor_of_a_collection(
    index: VectorIndex, mode: SearchMode
) -> None:
    terms = SparseVector((1,), (1.0,))
    await index.upsert(
        [
            *points("a", 1, 2, collection="old", sparse=terms),
            *points("b", 5, 2, collection="old", sparse=terms),
            *points("c", 1, 2, sparse=terms),
        ]
    )

    hits = await index.search(query(mode=mode, sparse=terms, floors={"old": 5, "unknown": 9}))

    assert documents(hits) == {"b", "c"}


async def test_hidden_hits_are_made_up_for_from_further_down(index: VectorIndex) -> None:
    near, far = vector(1), vector(2)
    await index.upsert([*points("gone", 1, 60, vector=near), *points("here", 1, 5, vector=near + 0.2 * far)])
    await index.raise_fence("acme", "gone", floor=2)

    hits = await search_visible(index, query(vector=near, limit=5))

    assert [hit.document_id for hit in hits] == ["here"] * 5
