"""What only the embedded index promises: one process, one model, nothing lost."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from services.retriever.index import (
    Fence,
    IndexLocked,
    IndexUnreadable,
    ModelMismatch,
)
from services.retriever.qdrant_edge_index import QdrantEdgeIndex
from tests.contract.vector_indexes import (
    DIMENSION,
    MODEL,
    points,
    query,
)

# The client's local mode says at every payload index that it has none.
pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")


@pytest.mark.parametrize(
    ("fingerprint", "dimension"), [("model-b", DIMENSION), (MODEL, 8)], ids=["other model", "other dimension"]
)
async def test_an_embedded_index_of_another_model_is_refused(tmp_path: Path, fingerprint: str, dimension: int) -> None:
    await (await QdrantEdgeIndex.open(tmp_path, dimension=DIMENSION, fingerprint=MODEL)).close()

    with pytest.raises(ModelMismatch, match=rf"model-a.*16 dimensions.*{fingerprint}.*{dimension} dimensions.*anew"):
        await QdrantEdgeIndex.open(tmp_path, dimension=dimension, fingerprint=fingerprint)

    await (await QdrantEdgeIndex.open(tmp_path, dimension=DIMENSION, fingerprint=MODEL)).close()


@pytest.mark.parametrize("content", ['{"format": 99}', "{", '{"format": 1}', "[]"])
async def test_an_index_of_another_format_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "index.json").write_text(content)

    with pytest.raises(IndexUnreadable, match=r"index\.json"):
        await QdrantEdgeIndex.open(tmp_path, dimension=DIMENSION, fingerprint=MODEL)


async def test_a_damaged_index_is_refused_and_can_be_opened_once_repaired(tmp_path: Path) -> None:
    await (await QdrantEdgeIndex.open(tmp_path, dimension=DIMENSION, fingerprint=MODEL)).close()
    config = tmp_path / "shard" / "edge_config.json"
    intact = config.read_bytes()
    config.write_bytes(b"{")

    with pytest.raises(IndexUnreadable, match=r"shard cannot be opened"):
        await QdrantEdgeIndex.open(tmp_path, dimension=DIMENSION, fingerprint=MODEL)

    config.write_bytes(intact)
    await (await QdrantEdgeIndex.open(tmp_path, dimension=DIMENSION, fingerprint=MODEL)).close()


async def test_an_embedded_index_opens_once_at_a_time(tmp_path: Path) -> None:
    first = await QdrantEdgeIndex.open(tmp_path, dimension=DIMENSION, fingerprint=MODEL)
    with pytest.raises(IndexLocked, match=r"already open.*Qdrant server"):
        await QdrantEdgeIndex.open(tmp_path, dimension=DIMENSION, fingerprint=MODEL)
    await first.upsert(points("a", 1, 2))
    await first.close()

    again = await QdrantEdgeIndex.open(tmp_path, dimension=DIMENSION, fingerprint=MODEL)
    assert await again.count() == 2
    await again.close()


async def test_writes_that_wait_when_an_embedded_index_closes_still_go_in(tmp_path: Path) -> None:
    index = await QdrantEdgeIndex.open(tmp_path, dimension=DIMENSION, fingerprint=MODEL, max_batch_points=4)
    waiting = [asyncio.create_task(index.upsert(points(f"d{number}", 1, 4))) for number in range(20)]
    await asyncio.sleep(0)
    await index.close()
    await asyncio.gather(*waiting)

    again = await QdrantEdgeIndex.open(tmp_path, dimension=DIMENSION, fingerprint=MODEL)
    assert await again.count() == 80
    await again.close()


async def test_an_embedded_index_keeps_its_content_when_outdated_points_are_dropped(tmp_path: Path) -> None:
    index = await QdrantEdgeIndex.open(tmp_path, dimension=DIMENSION, fingerprint=MODEL, flush_every_points=500)
    for revision in range(1, 6):
        await index.upsert(points("a", revision, 500))
        await index.remove_revisions("acme", "a", below=revision)
    before = await index.search(query(limit=20))
    await index.close()

    again = await QdrantEdgeIndex.open(tmp_path, dimension=DIMENSION, fingerprint=MODEL)
    assert await again.count() == 500
    assert await again.search(query(limit=20)) == before
    await again.upsert(points("a", 5, 500))
    assert await again.count() == 500
    await again.close()


_WRITER = """
import asyncio, sys
from pathlib import Path
from services.retriever.qdrant_edge_index import QdrantEdgeIndex
from tests.contract.vector_indexes import DIMENSION, MODEL, points

async def main():
    index = await QdrantEdgeIndex.open(Path(sys.argv[1]), dimension=DIMENSION, fingerprint=MODEL)
    await asyncio.gather(*(index.upsert(points(f"d{n}", 1, 10)) for n in range(20)))
    await index.raise_fence("acme", "d0", visible=1, floor=1)
    await index.remove_revisions("acme", "d1", below=2)
    print("stored", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_killed_process_loses_nothing_that_it_stored(tmp_path: Path) -> None:
    """INVARIANT: accepted is durable; a batch is acknowledged once the index returned, so it must survive kill -9."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _WRITER, str(tmp_path), stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert child.stdout is not None
    assert await child.stdout.readline() == b"stored\n"
    child.send_signal(signal.SIGKILL)
    await child.wait()

    index = await QdrantEdgeIndex.open(tmp_path, dimension=DIMENSION, fingerprint=MODEL)
    assert await index.count() == 190
    assert await index.fences("acme", {"d0"}) == {"d0": Fence("acme", "d0", 1, 1)}
    assert len(await index.search(query(limit=300))) == 190
    await index.close()
