"""What only the index on a server promises."""

import asyncio

import pytest
from qdrant_client import AsyncQdrantClient

from services.retriever.index import (
    IndexUnavailable,
    IndexUnreadable,
    ModelMismatch,
)
from services.retriever.qdrant_server_index import QdrantServerIndex
from tests.contract.vector_indexes import DIMENSION, MODEL, SERVERS, documents, opened, point, query

# The client's local mode says at every payload index that it has none.
pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")


@pytest.mark.parametrize("adapter", SERVERS)
async def test_models_have_collections_of_their_own(adapter: str) -> None:
    async with opened(adapter) as open_index:
        first = await open_index()
        await first.upsert([point("a")])

        second = await open_index(fingerprint="model-b")

        assert await second.search(query()) == []
        with pytest.raises(ModelMismatch, match="16 dimensions, but 8"):
            await open_index(dimension=8)


@pytest.mark.parametrize("adapter", SERVERS)
async def test_replicas_that_start_together_share_one_index(adapter: str) -> None:
    async with opened(adapter) as open_index:
        first, second, _ = await asyncio.gather(open_index(), open_index(), open_index())
        await first.upsert([point("a")])
        await first.raise_fence("acme", "a", visible=1)

        assert documents(await second.search(query())) == {"a"}
        assert (await second.fences("acme", {"a"}))["a"].visible == 1


async def test_a_server_that_does_not_answer_is_unavailable(unused_tcp_port: int) -> None:
    client = AsyncQdrantClient(url=f"http://127.0.0.1:{unused_tcp_port}", check_compatibility=False)

    with pytest.raises(IndexUnavailable, match="could not prepare"):
        await QdrantServerIndex.open(client, prefix="test", dimension=DIMENSION, fingerprint=MODEL)
    await client.close()


async def test_a_server_that_is_too_old_is_refused() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"title": "qdrant", "version": "1.16.3"}'
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n")
        writer.write(b"content-length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = AsyncQdrantClient(url=f"http://127.0.0.1:{port}", check_compatibility=False)

    with pytest.raises(IndexUnreadable, match=r"1\.16\.3.*1\.19"):
        await QdrantServerIndex.open(client, prefix="test", dimension=DIMENSION, fingerprint=MODEL)
    await client.close()
    server.close()
