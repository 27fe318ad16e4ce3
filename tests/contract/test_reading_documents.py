"""What is read of one document, on every adapter of the vector index."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from contracts.retrieval import PassagesReply, PassagesRequest
from services.retriever.index import DocumentSpan, VectorIndex, collection_fence
from services.retriever.reading import MAX_CHUNKS, Reading
from shared.errors import NotFound, Rejected
from tests.contract.vector_indexes import INDEXES, opened, point, points

# The client's local mode says at every payload index that it has none.
pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")


@pytest.fixture(params=INDEXES)
async def index(request: pytest.FixtureRequest) -> AsyncIterator[VectorIndex]:
    async with opened(request.param) as open_index:
        yield await open_index()


async def read(index: VectorIndex, document_id: str = "a", **fields: Any) -> PassagesReply:
    request = PassagesRequest(**{"tenant": "acme", "document_id": document_id, **fields})
    return await Reading(index).passages(request)


def ordinals(reply: PassagesReply) -> list[int]:
    return [passage.ordinal for passage in reply.passages]


async def test_a_span_is_read_in_order_and_carries_all_that_was_stored(index: VectorIndex) -> None:
    stored = [point("a", 3, ordinal, title="A", page=ordinal // 2 + 1, metadata={"year": 2026}) for ordinal in range(6)]
    await index.upsert(list(reversed(stored)))
    await index.upsert(points("b", 1, 6))

    reply = await read(index, first_ordinal=2, last_ordinal=4)

    assert ordinals(reply) == [2, 3, 4]
    assert reply.next_ordinal is None
    for passage, one in zip(reply.passages, stored[2:5], strict=True):
        assert (passage.text, passage.chunk_id, passage.title) == (one.text, one.chunk_id, "A")
        assert (passage.page, passage.revision, passage.metadata) == (one.page, 3, {"year": 2026})


async def test_pages_are_read_whole(index: VectorIndex) -> None:
    await index.upsert([point("a", 1, ordinal, page=ordinal // 2 + 1) for ordinal in range(8)])

    assert ordinals(await read(index, first_page=2, last_page=3)) == [2, 3, 4, 5]
    assert ordinals(await read(index, first_page=9, last_page=9)) == []


async def test_only_the_visible_revision_is_read(index: VectorIndex) -> None:
    """INVARIANT: no result mixes two revisions; while an update is indexed both lie in the index."""
    await index.upsert([*points("a", 1, 3), *points("a", 2, 3)])
    await index.raise_fence("acme", "a", visible=1)
    assert {passage.revision for passage in (await read(index)).passages} == {1}

    await index.raise_fence("acme", "a", visible=2, floor=2)
    assert {passage.revision for passage in (await read(index)).passages} == {2}


async def test_what_is_deleted_foreign_or_outside_the_conditions_is_not_found(index: VectorIndex) -> None:
    """INVARIANT: deleted is gone, and a tenant sees only its own; each looks like a document that never was."""
    await index.upsert([point("a", metadata={"team": "web"}), point("gone"), point("theirs", tenant="other")])
    await index.upsert([point("dropped", collection="old")])
    await index.raise_fence("acme", "gone", floor=2)
    await index.raise_fence("acme", collection_fence("old"), floor=2)

    problems = set()
    for name, fields in (
        ("never", {}),
        ("gone", {}),
        ("theirs", {}),
        ("dropped", {}),
        ("a", {"collection": "wiki"}),
        ("a", {"filter": {"team": "infra"}}),
    ):
        with pytest.raises(NotFound) as raised:
            await read(index, name, **fields)
        problems.add(raised.value.message.replace(repr(name), "it"))
    assert problems == {"document it is not in the index"}
    assert ordinals(await read(index, "a", collection="default", filter={"team": "web"})) == [0]


async def test_a_filter_that_cannot_be_is_refused(index: VectorIndex) -> None:
    with pytest.raises(Rejected) as raised:
        await read(index, filter={"year": {"near": 7}})
    assert (raised.value.error_code, raised.value.field) == ("invalid_filter", "filter")


async def test_a_reply_is_bounded_and_says_where_to_go_on(index: VectorIndex) -> None:
    await index.upsert([replace(one, text="x" * 100) for one in points("a", 1, 6)])

    first = await read(index, max_bytes=250)
    assert (ordinals(first), first.next_ordinal) == ([0, 1], 2)
    assert ordinals(await read(index, first_ordinal=2, max_bytes=9)) == [2]


async def test_a_long_document_is_read_from_its_beginning(index: VectorIndex) -> None:
    await index.upsert(list(reversed(points("a", 1, MAX_CHUNKS + 40))))

    reply = await read(index, max_bytes=500_000)
    assert ordinals(reply) == list(range(MAX_CHUNKS))
    rest = await read(index, first_ordinal=reply.next_ordinal, max_bytes=500_000)
    assert ordinals(rest) == list(range(MAX_CHUNKS, MAX_CHUNKS + 40))


async def test_an_update_that_comes_between_is_read_again(index: VectorIndex) -> None:
    """INVARIANT: no result mixes two revisions, and none is lost to a switch in the middle of a read."""
    await index.upsert(points("a", 1, 2))
    await index.raise_fence("acme", "a", visible=1)
    plain = index.passages

    async def overtaken(span: DocumentSpan, limit: int) -> Any:
        hits = await plain(span, limit)
        if not await index.fences("acme", {"a"}) or (await index.fences("acme", {"a"}))["a"].visible == 1:
            await index.upsert(points("a", 2, 3))
            await index.raise_fence("acme", "a", visible=2, floor=2)
            await index.remove_revisions("acme", "a", below=2)
        return hits

    index.passages = overtaken  # type: ignore[method-assign]
    reply = await read(index)
    assert [(passage.revision, passage.ordinal) for passage in reply.passages] == [(2, 0), (2, 1), (2, 2)]
