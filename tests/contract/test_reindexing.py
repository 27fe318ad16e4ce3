"""Copying to the next model's index, the switch, and the writes meanwhile, on every store."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from contracts.chunks import ChunksEmbedded, EmbeddedChunk, chunk_id
from contracts.facts import DocumentDeleted, DocumentIndexed, DocumentSuperseded
from contracts.messages import Fact
from contracts.retrieval import ReindexReply, ReindexRequest
from services.retriever import reindexing
from services.retriever.bm25 import chunk_terms
from services.retriever.epochs import OwnEpochs
from services.retriever.generations import Generation, Generations
from services.retriever.index import Fence, IndexUnavailable, VectorIndex, collection_fence
from services.retriever.indexing import Indexing
from services.retriever.reindexing import Reindexing
from services.retriever.writing import Writing
from shared.errors import Rejected, Unavailable
from tests.contract.catalogues import NEW, OLD, STORES, Model, Opener, embedded, stores
from tests.contract.vector_indexes import point, points

# The client's local mode says at every payload index that it has none.
pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")


@dataclass
class Stand:
    """The two indexes, what fills them, and the model that computes vectors."""

    open_store: Opener
    generations: Generations
    model: Model

    @property
    def old(self) -> VectorIndex:
        return self.generations.opened[0].index

    @property
    def new(self) -> VectorIndex:
        return self.generations.opened[-1].index

    @property
    def writing(self) -> Writing:
        return Writing(self.generations, _indexing, self.model, OwnEpochs(self.generations))

    async def step(self, step: str, cursor: str | None = None) -> ReindexReply:
        request = ReindexRequest.model_validate({"step": step, "cursor": cursor})
        return await Reindexing(self.generations, self.model).step(request)

    async def copy_all(self) -> list[ReindexReply]:
        replies = [await self.step("copy")]
        while replies[-1].cursor is not None:
            replies.append(await self.step("copy", replies[-1].cursor))
        return replies

    async def copied(self) -> int:
        return sum(reply.copied for reply in await self.copy_all())


def _indexing(generation: Generation) -> Indexing:
    return Indexing(generation.index, model=generation.model)


@pytest.fixture(params=STORES)
async def stand(request: pytest.FixtureRequest) -> AsyncIterator[Stand]:
    async with stores(request.param) as open_store:
        yield Stand(open_store, await open_store(OLD, NEW), Model())


def batch(document_id: str, revision: int = 1, number: int = 3, *, brings_next: bool = True) -> ChunksEmbedded:
    def chunk(ordinal: int) -> EmbeddedChunk:
        text = f"{document_id} {revision} {ordinal}"
        return EmbeddedChunk(
            ordinal=ordinal,
            chunk_id=chunk_id("acme", document_id, revision, ordinal),
            text=text,
            vector=embedded(OLD.fingerprint, text).tobytes(),
            next_vector=embedded(NEW.fingerprint, text).tobytes() if brings_next else None,
        )

    return ChunksEmbedded(
        tenant="acme",
        document_id=document_id,
        revision=revision,
        collection="default",
        batch=0,
        model=OLD.fingerprint,
        next_model=NEW.fingerprint if brings_next else None,
        dimension=OLD.dimension,
        chunks=[chunk(ordinal) for ordinal in range(number)],
    )


def fact(kind: type[Fact], revision: int, document_id: str = "a", **fields: Any) -> Any:
    return kind.model_validate({"tenant": "acme", "document_id": document_id, "revision": revision, **fields})


def weights_of(text: str) -> dict[int, float]:
    words = chunk_terms(text)
    return dict(zip(words.indices, words.values, strict=True))


async def test_a_copy_differs_in_its_vectors_alone(stand: Stand) -> None:
    stored = point(
        "handbook",
        revision=7,
        title="Handbook",
        uri="https://example.org/h",
        metadata={"team": "infra", "tags": ["a", "b"]},
        page=4,
        heading_path=("One", "Two"),
        char_start=100,
        char_end=200,
        prefix="Handbook > Two\n\n",
    )
    await stand.old.upsert([stored])

    assert await stand.copied() == 1

    [copy] = await stand.new.chunks([stored.chunk_id])
    for name in type(stored).__dataclass_fields__:
        if name not in ("vector", "sparse"):
            assert getattr(copy, name) == getattr(stored, name)
    text = "Handbook > Two\n\nhandbook 7 0"
    assert copy.sparse is not None
    assert dict(zip(copy.sparse.indices, copy.sparse.values, strict=True)) == pytest.approx(weights_of(text))
    assert np.allclose(copy.vector, embedded(NEW.fingerprint, text), atol=1e-6)


async def test_a_pass_copies_every_tenant_and_every_fence(stand: Stand) -> None:
    await stand.old.upsert([*points("a", 2, 5), *points("a", 2, 4, tenant="other")])
    await stand.old.raise_fence("acme", "a", visible=2)
    await stand.old.raise_fence("acme", "gone", floor=9)

    await stand.copy_all()

    assert (await stand.new.count("acme"), await stand.new.count("other")) == (5, 4)
    assert await stand.new.fences("acme", {"a", "gone"}) == {
        "a": Fence("acme", "a", visible=2),
        "gone": Fence("acme", "gone", floor=9),
    }
    assert await stand.copied() == 0


async def test_steps_are_bounded_and_one_that_is_lost_may_be_repeated(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reindexing, "PAGE_POINTS", 10)
    monkeypatch.setattr(reindexing, "SLICE_CHUNKS", 4)
    monkeypatch.setattr(reindexing, "STEP_SECONDS", 0.0)
    await stand.old.upsert(points("a", 1, 25))

    fences = await stand.step("copy")
    first = await stand.step("copy", fences.cursor)
    repeated = await stand.step("copy", fences.cursor)
    replies = [first]
    while replies[-1].cursor is not None:
        replies.append(await stand.step("copy", replies[-1].cursor))

    assert (fences.copied, first.copied, repeated.copied) == (0, 4, 4)
    assert await stand.new.count() == 25
    assert sum(reply.looked_at for reply in replies) == 25
    # The second slice was brought by the repeated step; nothing was embedded twice.
    assert len(stand.model.texts) == len(set(stand.model.texts)) == 25


async def test_a_pass_that_was_broken_off_goes_on_after_a_restart(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reindexing, "STEP_SECONDS", 0.0)
    await stand.old.upsert(points("a", 1, 100))
    await stand.step("copy", (await stand.step("copy")).cursor)
    await stand.generations.close()

    stand.generations = await stand.open_store(OLD, NEW)
    monkeypatch.setattr(reindexing, "STEP_SECONDS", 60.0)

    assert await stand.copied() == 100 - reindexing.SLICE_CHUNKS
    assert await stand.new.count() == 100


async def test_searches_switch_when_everything_is_there(stand: Stand) -> None:
    await stand.old.upsert(points("a", 1, 5))

    with pytest.raises(Rejected, match="holds 0 of 5 chunks") as refused:
        await stand.step("activate")
    assert refused.value.error_code == "reindex_incomplete"
    assert stand.generations.active.model == OLD.fingerprint

    await stand.copy_all()
    assert (await stand.step("look")).active == OLD.fingerprint
    reply = await stand.step("activate")

    assert (reply.active, reply.next_model, reply.chunks) == (NEW.fingerprint, NEW.fingerprint, 5)
    assert stand.generations.active.model == NEW.fingerprint
    assert (await stand.step("activate")).active == NEW.fingerprint


async def test_nothing_switches_to_a_model_that_does_not_answer(stand: Stand) -> None:
    async def away(_texts: Sequence[str]) -> None:
        raise Unavailable("the embedder has no such model")

    stand.model.before = away
    with pytest.raises(Unavailable, match="no such model"):
        await stand.step("activate")
    assert stand.generations.active.model == OLD.fingerprint


REMOVALS: dict[str, Callable[[Writing], Any]] = {
    "deleted": lambda writing: writing.clean_up(fact(DocumentDeleted, 9, collection="default")),
    "updated": lambda writing: writing.clean_up(fact(DocumentIndexed, 9, collection="default", chunks=1)),
    "superseded": lambda writing: writing.clean_up(fact(DocumentSuperseded, 4, current_revision=9)),
}


@pytest.mark.parametrize("removal", REMOVALS)
async def test_what_is_removed_while_it_is_copied_does_not_come_back(stand: Stand, removal: str) -> None:
    """INVARIANT: a delete holds; the copy would bring back what was read a moment before."""
    await stand.old.upsert(points("a", 4, 5))

    async def remove_meanwhile(_texts: Sequence[str]) -> None:
        stand.model.before = None
        await REMOVALS[removal](stand.writing)

    stand.model.before = remove_meanwhile
    await stand.copy_all()

    assert (await stand.old.count(), await stand.new.count()) == (0, 0)
    assert await stand.copied() == 0


async def test_what_a_fence_hides_for_good_is_removed_and_does_not_hold_up_the_switch(stand: Stand) -> None:
    await stand.old.upsert([*points("a", 1, 3), *points("a", 5, 2)])
    await stand.old.raise_fence("acme", "a", visible=5)

    assert await stand.copied() == 2
    assert (await stand.old.count(), await stand.new.count()) == (2, 2)
    assert (await stand.step("activate")).active == NEW.fingerprint


async def test_a_text_that_the_model_refuses_is_named(stand: Stand) -> None:
    await stand.old.upsert([*points("good", 1, 3), *points("bad", 1, 1)])

    async def refuse(texts: Sequence[str]) -> None:
        if any(text.startswith("bad") for text in texts):
            raise Rejected("too long", code="embedding_refused")

    stand.model.before = refuse
    with pytest.raises(Rejected, match=r"chunk 0 of document 'bad' of tenant 'acme' \(too long\)") as refused:
        await stand.copy_all()
    assert refused.value.error_code == "embedding_refused"


async def test_without_a_next_model_there_is_nothing_to_do(stand: Stand) -> None:
    await stand.generations.close()
    stand.generations = await stand.open_store(OLD)

    assert (await stand.step("look")).next_model is None
    for step in ("copy", "activate"):
        with pytest.raises(Rejected, match="RAG_NEXT_EMBEDDING_MODEL") as refused:
            await stand.step(step)
        assert refused.value.error_code == "no_next_model"


async def test_after_a_restart_the_switch_is_known_to_be_done(stand: Stand) -> None:
    await stand.step("activate")
    await stand.generations.close()
    stand.generations = await stand.open_store(OLD, NEW)

    reply = await stand.step("look")
    assert reply.active == reply.next_model == NEW.fingerprint
    with pytest.raises(Rejected) as refused:
        await stand.step("copy")
    assert refused.value.error_code == "already_active"


async def test_a_cursor_from_elsewhere_is_refused(stand: Stand) -> None:
    with pytest.raises(Rejected, match="cursor 'x' is none"):
        await stand.step("copy", "x")


async def test_a_batch_goes_into_both_indexes_with_the_vectors_of_each(stand: Stand) -> None:
    await stand.writing.add(batch("a"))

    for index, model in ((stand.old, OLD), (stand.new, NEW)):
        [first] = await index.chunks([chunk_id("acme", "a", 1, 0)])
        assert np.allclose(first.vector, embedded(model.fingerprint, "a 1 0"), atol=1e-6)
        assert await index.count() == 3
    assert stand.model.texts == []
    assert await stand.copied() == 0


async def test_what_came_without_the_next_models_vectors_is_left_to_a_pass(stand: Stand) -> None:
    await stand.writing.add(batch("a", brings_next=False))

    assert (await stand.old.count(), await stand.new.count()) == (3, 0)
    assert await stand.copied() == 3


async def test_after_the_switch_a_batch_without_its_vectors_is_embedded(stand: Stand) -> None:
    """INVARIANT: nothing is stuck at the switch; what was under way then can be found like everything else."""
    await stand.step("activate")
    await stand.writing.add(batch("a", brings_next=False))
    await stand.generations.close()
    stand.generations = await stand.open_store(NEW)
    await stand.writing.add(batch("b", brings_next=False))
    await stand.writing.add(batch("c", brings_next=True))

    assert await stand.generations.active.index.count() == 9
    assert stand.model.texts[1:] == [f"{name} 1 {ordinal}" for name in "ab" for ordinal in range(3)]


async def test_deletes_and_updates_reach_both_indexes(stand: Stand) -> None:
    for name in ("a", "b"):
        await stand.writing.add(batch(name, revision=4))
    fence = await stand.writing.raise_floor("acme", "a", 9)
    await stand.writing.clean_up(fact(DocumentIndexed, 4, "b", collection="default", chunks=3))
    await stand.writing.add(batch("b", revision=6))
    await stand.writing.clean_up(fact(DocumentIndexed, 6, "b", collection="default", chunks=3))
    await stand.writing.clean_up(fact(DocumentDeleted, 9, "a", collection="default"))

    assert fence == Fence("acme", "a", floor=9)
    for index in (stand.old, stand.new):
        assert await index.fences("acme", {"a", "b"}) == {
            "a": Fence("acme", "a", floor=9),
            "b": Fence("acme", "b", visible=6),
        }
        assert [entry.revision for entry in (await index.document_revisions()).entries] == [6]


async def test_the_next_index_never_lacks_what_the_present_one_got(stand: Stand) -> None:
    """INVARIANT: a write that is cut off between the two leaves nothing that the next index would miss."""
    await stand.old.upsert(points("b", 4, 3))
    await stand.new.close()

    with pytest.raises(IndexUnavailable):
        await stand.writing.add(batch("a"))
    with pytest.raises(IndexUnavailable):
        await stand.writing.clean_up(fact(DocumentDeleted, 9, "b", collection="default"))

    assert await stand.old.count() == 0


async def test_what_a_deleted_collection_left_behind_is_not_copied(stand: Stand) -> None:
    """INVARIANT: deleted is gone; the fence of the collection comes along, and late points of it go from both."""
    name = collection_fence("default")
    await stand.old.upsert(points("late", 3, 2))
    await stand.old.upsert(points("later", 9, 2))
    await stand.old.raise_fence("acme", name, floor=5)

    await stand.copy_all()

    for index in (stand.old, stand.new):
        assert [entry.document_id for entry in (await index.document_revisions()).entries] == ["later"]
        assert await index.fences("acme", {name}) == {name: Fence("acme", name, floor=5)}
