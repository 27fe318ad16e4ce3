"""Which index is searched and which one is filled, on every store: what restarts and other replicas see."""

import asyncio
import contextlib
import shutil
from pathlib import Path

import pytest
from qdrant_client import AsyncQdrantClient

from services.retriever.generations import Generations, IndexedModel, open_generations
from services.retriever.index import IndexUnavailable, IndexUnreadable, ModelMismatch
from services.retriever.qdrant_edge_catalogue import QdrantEdgeCatalogue
from services.retriever.qdrant_edge_index import QdrantEdgeIndex
from services.retriever.qdrant_server_catalogue import QdrantServerCatalogue
from services.retriever.qdrant_server_index import QdrantServerIndex
from tests.contract.catalogues import NEW, OLD, STORES, THIRD, LastingClient, stores
from tests.contract.vector_indexes import point, points
from tests.running import eventually

# The client's local mode says at every payload index that it has none.
pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")
WAY_OUT = r"old@remote\.16.*third@remote\.8.*RAG_EMBEDDING_MODEL=old .*RAG_NEXT_EMBEDDING_MODEL=third .*`rag reindex`"


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def models(generations: Generations) -> list[str]:
    return [generation.model for generation in generations.opened]


async def test_an_empty_store_gets_the_index_of_the_configured_model(store: str) -> None:
    async with stores(store) as open_store:
        generations = await open_store(OLD)

        assert models(generations) == [OLD.fingerprint]
        assert generations.active.model == OLD.fingerprint
        assert generations.next_model is None


async def test_an_index_of_a_third_model_is_refused_with_the_way_out(store: str) -> None:
    async with stores(store) as open_store:
        await (await open_store(OLD)).close()

        with pytest.raises(ModelMismatch, match=WAY_OUT):
            await open_store(THIRD)
        with pytest.raises(ModelMismatch, match=WAY_OUT):
            await open_store(THIRD, NEW)
        await (await open_store(OLD)).close()


async def test_the_next_index_stands_beside_the_one_that_is_searched(store: str) -> None:
    async with stores(store) as open_store:
        generations = await open_store(OLD, NEW)

        assert models(generations) == [OLD.fingerprint, NEW.fingerprint]
        assert generations.active.model == OLD.fingerprint
        assert generations.next_model == NEW.fingerprint


async def test_a_restart_goes_on_with_the_index_that_is_being_filled(store: str) -> None:
    async with stores(store) as open_store:
        first = await open_store(OLD, NEW)
        await first.opened[0].index.upsert(points("a", 1, 3))
        await first.close()

        again = await open_store(OLD, NEW)

        assert await again.opened[0].index.count() == 3
        await again.opened[1].index.raise_fence("acme", "a", floor=4)
        await again.close()
        last = await open_store(OLD, NEW)
        assert (await last.opened[1].index.fences("acme", {"a"}))["a"].floor == 4


async def test_an_index_that_missed_writes_while_it_was_closed_is_begun_anew(store: str) -> None:
    """INVARIANT: deletes that happened meanwhile hold; a half-filled index of last week would undo them."""
    async with stores(store) as open_store:
        first = await open_store(OLD, NEW)
        await first.opened[1].index.raise_fence("acme", "a", visible=4)
        await first.close()
        await (await open_store(OLD)).close()

        again = await open_store(OLD, NEW)

        assert await again.opened[1].index.fences("acme", {"a"}) == {}


async def test_the_switch_outlives_restarts(store: str) -> None:
    async with stores(store) as open_store:
        first = await open_store(OLD, NEW)
        await first.opened[1].index.raise_fence("acme", "a", visible=4)
        await first.activate(first.opened[1])
        assert first.active.model == NEW.fingerprint
        await first.close()

        unchanged = await open_store(OLD, NEW)
        assert models(unchanged) == [NEW.fingerprint]
        assert unchanged.next_model == NEW.fingerprint
        await unchanged.close()
        with pytest.raises(ModelMismatch, match=r"new@remote.*old@remote.*rag reindex"):
            await open_store(OLD)

        alone = await open_store(NEW)
        assert alone.active.model == NEW.fingerprint
        assert (await alone.active.index.fences("acme", {"a"}))["a"].visible == 4


async def test_there_is_a_way_back_which_begins_anew(store: str) -> None:
    async with stores(store) as open_store:
        first = await open_store(OLD, NEW)
        await first.opened[0].index.upsert(points("a", 1, 3))
        await first.activate(first.opened[1])
        await first.close()

        back = await open_store(NEW, OLD)

        assert models(back) == [NEW.fingerprint, OLD.fingerprint]
        assert await back.opened[1].index.count() == 0


def directories(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


async def test_an_embedded_index_of_an_earlier_release_is_found(tmp_path: Path) -> None:
    before = await QdrantEdgeIndex.open(tmp_path / "index", dimension=16, fingerprint=OLD.fingerprint)
    await before.upsert(points("a", 1, 3))
    await before.close()

    with pytest.raises(ModelMismatch, match=WAY_OUT):
        await open_generations(QdrantEdgeCatalogue(tmp_path), THIRD)
    generations = await open_generations(QdrantEdgeCatalogue(tmp_path), OLD)

    assert await generations.active.index.count() == 3
    await generations.close()


async def test_the_embedded_index_of_the_former_model_is_removed_once_the_new_one_is_configured_alone(
    tmp_path: Path,
) -> None:
    first = await open_generations(QdrantEdgeCatalogue(tmp_path), OLD, NEW)
    await first.activate(first.opened[1])
    await first.close()
    assert len(directories(tmp_path)) == 2

    await (await open_generations(QdrantEdgeCatalogue(tmp_path), NEW)).close()

    assert [name.startswith("index-new-") for name in directories(tmp_path)] == [True]


@pytest.mark.parametrize("alone", [OLD, NEW])
async def test_what_a_crash_left_of_a_removal_is_no_index(tmp_path: Path, alone: IndexedModel) -> None:
    first = await open_generations(QdrantEdgeCatalogue(tmp_path), OLD, NEW)
    if alone is NEW:
        await first.activate(first.opened[1])
    await first.close()
    unfinished = [name for name in directories(tmp_path) if (name == "index") == (alone is NEW)]
    (tmp_path / unfinished[0]).rename(tmp_path / f"{unfinished[0]}.discarded")

    again = await open_generations(QdrantEdgeCatalogue(tmp_path), alone)
    assert models(again) == [alone.fingerprint]
    await again.close()

    assert [name.startswith("index-new-") for name in directories(tmp_path)] == [alone is NEW]


async def test_a_copy_of_an_index_that_somebody_made_is_left_alone(tmp_path: Path) -> None:
    first = await open_generations(QdrantEdgeCatalogue(tmp_path), OLD)
    await first.active.index.upsert(points("a", 1, 3))
    await first.close()
    await asyncio.to_thread(shutil.copytree, tmp_path / "index", tmp_path / "index-backup")

    again = await open_generations(QdrantEdgeCatalogue(tmp_path), OLD)
    await again.active.index.upsert(points("b", 1, 3))
    await again.close()

    assert directories(tmp_path) == ["index", "index-backup"]
    copy = await QdrantEdgeIndex.open(tmp_path / "index-backup", dimension=16, fingerprint=OLD.fingerprint)
    assert await copy.count() == 3
    await copy.close()


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 1}', '{"format": 2, "active": "a", "upcoming": null}'])
async def test_a_damaged_list_of_models_is_refused(tmp_path: Path, content: str) -> None:
    await (await open_generations(QdrantEdgeCatalogue(tmp_path), OLD)).close()
    (tmp_path / "index-models.json").write_text(content)

    with pytest.raises(IndexUnreadable, match=r"index-models\.json"):
        await open_generations(QdrantEdgeCatalogue(tmp_path), OLD)


def server(client: AsyncQdrantClient, *configured: str) -> QdrantServerCatalogue:
    return QdrantServerCatalogue(lambda: client, prefix="test", configured=configured)


async def test_a_collection_of_an_earlier_release_is_found_and_another_model_is_refused() -> None:
    """INVARIANT: an unnoticed empty index never takes the place of a full one."""
    client = LastingClient(":memory:")
    before = await QdrantServerIndex.open(client, prefix="test", dimension=16, fingerprint=OLD.fingerprint)
    await before.upsert([point("a")])

    with pytest.raises(ModelMismatch, match=r"test-old-remote-16.*third@remote\.8.*rag reindex"):
        await open_generations(server(client, THIRD.fingerprint), THIRD)
    generations = await open_generations(server(client, OLD.fingerprint), OLD)
    assert await generations.active.index.count() == 1

    with pytest.raises(ModelMismatch, match=WAY_OUT):
        await open_generations(server(client, THIRD.fingerprint), THIRD)
    await AsyncQdrantClient.close(client)


async def test_platforms_with_other_prefixes_share_a_server() -> None:
    client = LastingClient(":memory:")
    await open_generations(server(client, OLD.fingerprint), OLD)

    other = QdrantServerCatalogue(lambda: client, prefix="tes", configured=[THIRD.fingerprint])
    generations = await open_generations(other, THIRD)

    assert generations.active.model == THIRD.fingerprint
    await AsyncQdrantClient.close(client)


async def test_replicas_follow_the_switch_and_one_that_cannot_stops_answering() -> None:
    """INVARIANT: no replica goes on searching or filling an index that the others have left."""
    async with stores("memory-server") as open_store:
        first, second, outdated = await open_store(OLD, NEW), await open_store(OLD, NEW), await open_store(OLD, NEW)
        lagging = Generations(outdated._catalogue, outdated.opened[:1], active=OLD.fingerprint, next_model=None)
        following = [asyncio.create_task(each.follow()) for each in (second, lagging)]
        await first.activate(first.opened[1])

        await eventually(lambda: second.active.model == NEW.fingerprint, "the other replica follows", seconds=2)
        with pytest.raises(IndexUnavailable, match=r"new@remote"):
            _ = lagging.opened
        for task in following:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def test_a_collection_of_the_former_model_stays_on_a_server() -> None:
    client = LastingClient(":memory:")
    first = await open_generations(server(client, OLD.fingerprint, NEW.fingerprint), OLD, NEW)
    await first.opened[0].index.upsert([point("a")])
    await first.activate(first.opened[1])

    await open_generations(server(client, NEW.fingerprint), NEW)

    former = await QdrantServerIndex.open(client, prefix="test", dimension=16, fingerprint=OLD.fingerprint)
    assert await former.count() == 1
    await AsyncQdrantClient.close(client)
