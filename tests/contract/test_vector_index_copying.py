"""How the content of an index is read again, on every adapter: what a reindexing lives on."""

from collections.abc import AsyncIterator

import numpy as np
import pytest

from services.retriever.index import Fence, SparseVector, VectorIndex
from tests.contract.vector_indexes import INDEXES, opened, point, points

# The client's local mode says at every payload index that it has none.
pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")


@pytest.fixture(params=INDEXES)
async def index(request: pytest.FixtureRequest) -> AsyncIterator[VectorIndex]:
    async with opened(request.param) as open_index:
        yield await open_index()


async def all_chunk_ids(index: VectorIndex, limit: int) -> list[str]:
    page = await index.chunk_ids(limit=limit)
    found = list(page.ids)
    while page.next_start is not None:
        page = await index.chunk_ids(page.next_start, limit)
        found += page.ids
    return found


async def all_fences(index: VectorIndex, limit: int) -> list[Fence]:
    page = await index.fence_page(limit=limit)
    found = list(page.fences)
    while page.next_start is not None:
        page = await index.fence_page(page.next_start, limit)
        found += page.fences
    return found


@pytest.mark.parametrize("limit", [1, 3, 4, 12, 13])
async def test_pages_hold_every_chunk_of_every_tenant_once(index: VectorIndex, limit: int) -> None:
    stored = [*points("a", 1, 5), *points("a", 2, 3), *points("a", 1, 4, tenant="other")]
    await index.upsert(stored)
    await index.raise_fence("acme", "a", visible=2)

    assert sorted(await all_chunk_ids(index, limit)) == sorted(each.chunk_id for each in stored)


@pytest.mark.parametrize("limit", [1, 2, 4, 5])
async def test_pages_hold_every_fence_of_every_tenant_once(index: VectorIndex, limit: int) -> None:
    wanted = {Fence("acme", "a", 3, 1), Fence("acme", "b", 0, 7), Fence("other", "a", 2, 0), Fence("gone", "c", 0, 9)}
    await index.upsert(points("a", 1, 5))
    for fence in wanted:
        await index.raise_fence(fence.tenant, fence.document_id, visible=fence.visible, floor=fence.floor)

    found = await all_fences(index, limit)

    assert (len(found), set(found)) == (4, wanted)


async def test_a_page_may_start_at_a_chunk_that_has_gone_since(index: VectorIndex) -> None:
    """INVARIANT: a pass that goes on after deletes misses nothing that is still there."""
    await index.upsert([*points("a", 1, 10), *points("b", 1, 10)])
    order = await all_chunk_ids(index, limit=50)
    first = await index.chunk_ids(limit=5)
    assert first.next_start is not None
    await index.remove_revisions("acme", "a", below=2)

    rest = await index.chunk_ids(first.next_start, limit=50)

    assert list(rest.ids) == [each for each in order[5:] if each in await index.present(order)]


async def test_an_empty_index_has_one_empty_page(index: VectorIndex) -> None:
    assert (await index.chunk_ids()).ids == ()
    assert (await index.chunk_ids()).next_start is None
    assert (await index.fence_page()).fences == ()


async def test_which_chunks_are_stored_is_told(index: VectorIndex) -> None:
    stored, absent = points("a", 1, 3), points("b", 1, 2)
    await index.upsert(stored)

    found = await index.present([each.chunk_id for each in [*stored, *absent]])

    assert found == {each.chunk_id for each in stored}
    assert await index.present([]) == set()


async def test_a_chunk_that_is_read_and_stored_again_is_the_same(index: VectorIndex) -> None:
    terms = SparseVector((3, 9), (1.0, 2.5))
    stored = point(
        "handbook",
        revision=7,
        title="Handbook",
        uri="https://example.org/h",
        metadata={"team": "infra", "year": 2026, "tags": ["a", "b"]},
        page=4,
        heading_path=("One", "Two"),
        char_start=100,
        char_end=200,
        prefix="Handbook > Two\n\n",
        sparse=terms,
    )
    plain = point("plain")
    await index.upsert([stored, plain])

    read = {each.document_id: each for each in await index.chunks([stored.chunk_id, plain.chunk_id])}
    await index.upsert(list(read.values()))

    for name in type(stored).__dataclass_fields__:
        if name != "vector":
            assert getattr(read["handbook"], name) == getattr(stored, name)
    unit = stored.vector / np.linalg.norm(stored.vector)
    assert np.allclose(read["handbook"].vector, unit, atol=1e-6)
    assert read["plain"].sparse is None
    assert await index.count() == 2
