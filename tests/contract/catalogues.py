"""The stores that hold the indexes of several models, opened for a test, and a model to embed with."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from qdrant_client import AsyncQdrantClient

from services.retriever.generations import Catalogue, Generations, IndexedModel, open_generations
from services.retriever.index import Vector
from services.retriever.qdrant_edge_catalogue import QdrantEdgeCatalogue
from services.retriever.qdrant_server_catalogue import QdrantServerCatalogue
from tests.servers import quick_disk

OLD = IndexedModel("old@remote.16", 16)
NEW = IndexedModel("new@remote.24", 24)
THIRD = IndexedModel("third@remote.8", 8)
STORES = ["edge", "memory-server"]
Opener = Callable[..., Awaitable[Generations]]


class LastingClient(AsyncQdrantClient):
    """A server in memory that outlives the replicas that connect to it."""

    async def close(self, grpc_grace: float | None = None, **kwargs: Any) -> None:
        """Let the replica go, and keep what is stored."""


def stores(store: str) -> AbstractAsyncContextManager[Opener]:
    """Return what opens the indexes of one test.

    Opened again, it is another replica on a server; on the embedded engine the one before has to be closed.
    """
    return _edge() if store == "edge" else _memory_server()


@asynccontextmanager
async def _edge() -> AsyncIterator[Opener]:
    opened: list[Generations] = []
    with TemporaryDirectory(dir=quick_disk()) as folder:
        yield _opener(lambda _: QdrantEdgeCatalogue(Path(folder)), opened)
        for generations in opened:
            await generations.close()


@asynccontextmanager
async def _memory_server() -> AsyncIterator[Opener]:
    client = LastingClient(":memory:")
    yield _opener(lambda models: QdrantServerCatalogue(lambda: client, prefix="test", configured=models), [])
    await AsyncQdrantClient.close(client)


def _opener(catalogue: Callable[[list[str]], Catalogue], opened: list[Generations]) -> Opener:
    async def open_(current: IndexedModel, upcoming: IndexedModel | None = None) -> Generations:
        models = [model.fingerprint for model in (current, upcoming) if model]
        opened.append(await open_generations(catalogue(models), current, upcoming))
        return opened[-1]

    return open_


def embedded(model: str, text: str) -> Vector:
    """Return a unit vector that depends on model and text alone."""
    dimension = int(model.rpartition(".")[2])
    seed = int.from_bytes(hashlib.sha256(f"{model} {text}".encode()).digest()[:8], "little")
    vector = np.random.default_rng(seed).standard_normal(dimension).astype(np.float32)
    unit: Vector = vector / np.linalg.norm(vector)
    return unit


class Model:
    """Computes vectors and remembers for what; `before` is called with each request."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.before: Callable[[Sequence[str]], Awaitable[None]] | None = None

    async def __call__(self, model: str, texts: Sequence[str]) -> list[Vector]:
        """Return the vectors of texts."""
        if self.before is not None:
            await self.before(texts)
        self.texts += texts
        return [embedded(model, text) for text in texts]
