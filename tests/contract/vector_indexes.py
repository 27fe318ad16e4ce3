"""The adapters of the vector index, opened for a test, and what to store in them."""

import os
import uuid
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from qdrant_client import AsyncQdrantClient

from contracts.chunks import chunk_id
from services.retriever.index import ChunkPoint, Hit, IndexQuery, Vector, VectorIndex
from services.retriever.qdrant_edge_index import QdrantEdgeIndex
from services.retriever.qdrant_server_index import QdrantServerIndex
from tests.memory_index import MemoryIndex
from tests.servers import quick_disk

DIMENSION = 16
MODEL = "model-a"
SERVER_URL = os.environ.get("RAG_TEST_QDRANT_URL")
SERVERS = ["memory-server", "server"] if SERVER_URL else ["memory-server"]
ADAPTERS = ["edge", *SERVERS]
# What tests of other parts put in an adapter's place; it has to keep the same promises.
INDEXES = [*ADAPTERS, "memory"]
Opener = Callable[..., Awaitable[VectorIndex]]


def opened(adapter: str) -> AbstractAsyncContextManager[Opener]:
    """Return what opens the index of one test.

    Opened again, it is a second replica on a server, and the very same index on the embedded engine and in memory.
    """
    if adapter == "edge":
        return _edge()
    if adapter == "memory":
        return _memory()
    return _memory_server() if adapter == "memory-server" else _server()


@asynccontextmanager
async def _edge() -> AsyncIterator[Opener]:
    indexes: list[QdrantEdgeIndex] = []
    with TemporaryDirectory(dir=quick_disk()) as directory:

        async def open_(*, dimension: int = DIMENSION, fingerprint: str = MODEL) -> VectorIndex:
            if not indexes:
                indexes.append(
                    await QdrantEdgeIndex.open(Path(directory), dimension=dimension, fingerprint=fingerprint)
                )
            return indexes[0]

        yield open_
        for index in indexes:
            await index.close()


@asynccontextmanager
async def _memory() -> AsyncIterator[Opener]:
    indexes: list[MemoryIndex] = []

    async def open_(*, dimension: int = DIMENSION, fingerprint: str = MODEL) -> VectorIndex:
        if not indexes:
            indexes.append(MemoryIndex(dimension=dimension, fingerprint=fingerprint))
        return indexes[0]

    yield open_


@asynccontextmanager
async def _memory_server() -> AsyncIterator[Opener]:
    client = AsyncQdrantClient(":memory:")

    async def open_(*, dimension: int = DIMENSION, fingerprint: str = MODEL) -> VectorIndex:
        return await QdrantServerIndex.open(client, prefix="test", dimension=dimension, fingerprint=fingerprint)

    yield open_
    await client.close()


@asynccontextmanager
async def _server() -> AsyncIterator[Opener]:
    prefix = f"test-{uuid.uuid4().hex[:8]}"
    indexes: list[QdrantServerIndex] = []

    async def open_(*, dimension: int = DIMENSION, fingerprint: str = MODEL) -> VectorIndex:
        client = AsyncQdrantClient(url=SERVER_URL)
        indexes.append(
            await QdrantServerIndex.open(client, prefix=prefix, dimension=dimension, fingerprint=fingerprint)
        )
        return indexes[-1]

    yield open_
    for index in indexes:
        await index.close()
    client = AsyncQdrantClient(url=SERVER_URL)
    for each in (await client.get_collections()).collections:
        if each.name.startswith(prefix):
            await client.delete_collection(each.name)
    await client.close()


def point(document_id: str, revision: int = 1, ordinal: int = 0, tenant: str = "acme", **other: Any) -> ChunkPoint:
    seed = [zlib.crc32(document_id.encode()), revision, ordinal]
    fields: dict[str, Any] = {
        "collection": "default",
        "vector": np.random.default_rng(seed).standard_normal(DIMENSION).astype(np.float32),
        "text": f"{document_id} {revision} {ordinal}",
        "title": None,
        "uri": None,
        "metadata": {},
        "page": None,
        "heading_path": (),
        "char_start": 0,
        "char_end": 10,
    }
    return ChunkPoint(
        tenant=tenant,
        document_id=document_id,
        revision=revision,
        ordinal=ordinal,
        chunk_id=chunk_id(tenant, document_id, revision, ordinal),
        **(fields | other),
    )


def points(document_id: str, revision: int, number: int, **other: Any) -> list[ChunkPoint]:
    return [point(document_id, revision, ordinal, **other) for ordinal in range(number)]


def vector(seed: int = 0) -> Vector:
    return np.random.default_rng(seed).standard_normal(DIMENSION).astype(np.float32)


def query(**fields: Any) -> IndexQuery:
    defaults: dict[str, Any] = {"tenant": "acme", "limit": 50, "vector": vector()}
    return IndexQuery(**(defaults | fields))


def documents(hits: Sequence[Hit]) -> set[str]:
    return {hit.document_id for hit in hits}


def revisions(hits: Sequence[Hit]) -> set[int]:
    return {hit.revision for hit in hits}
