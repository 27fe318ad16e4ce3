"""A vector index whose calls leave spans: how long each took and how much came back, never what was asked."""

from collections.abc import Awaitable, Collection, Sequence, Sized
from contextlib import AbstractContextManager
from typing import TypeVar

from opentelemetry.trace import Span, Tracer

from services.retriever.index import (
    ChunkIdPage,
    ChunkPoint,
    DocumentSpan,
    Fence,
    FencedHits,
    FencePage,
    Hit,
    IndexDescription,
    IndexQuery,
    RevisionPage,
    VectorIndex,
)
from shared import semantics
from shared.client_spans import database_span

T = TypeVar("T")
SYSTEM = "qdrant"


class ObservedIndex:
    """A `VectorIndex`; the questions of probes and of the reconciler, which belong to no trace, leave none."""

    def __init__(self, index: VectorIndex, tracer: Tracer) -> None:
        self._index, self._tracer = index, tracer

    async def upsert(self, points: Sequence[ChunkPoint]) -> None:
        """Store points."""
        await self._call("upsert", self._index.upsert(points))

    async def search(self, query: IndexQuery) -> list[Hit]:
        """Return hits, best first."""
        return await self._call("search", self._index.search(query))

    async def search_fenced(self, query: IndexQuery) -> FencedHits:
        """Return hits, best first, and the fences that decide about them."""
        with self._span("search") as current:
            found = await self._index.search_fenced(query)
            current.set_attribute(semantics.DB_RETURNED, len(found.hits))
            return found

    async def passages(self, span: DocumentSpan, limit: int) -> list[Hit]:
        """Return chunks of a part of a document."""
        return await self._call("passages", self._index.passages(span, limit))

    async def raise_fence(
        self, tenant: str, document_id: str, *, visible: int | None = None, floor: int | None = None
    ) -> None:
        """Lift the numbers of a fence."""
        await self._call("raise_fence", self._index.raise_fence(tenant, document_id, visible=visible, floor=floor))

    async def fences(self, tenant: str, document_ids: Collection[str]) -> dict[str, Fence]:
        """Return the fences of those documents that have one."""
        return await self._call("fences", self._index.fences(tenant, document_ids))

    async def remove_revisions(self, tenant: str, document_id: str, below: int) -> None:
        """Delete the document's points with a lower revision."""
        await self._call("remove_revisions", self._index.remove_revisions(tenant, document_id, below))

    async def remove_revision(self, tenant: str, document_id: str, revision: int) -> None:
        """Delete the document's points of exactly this revision."""
        await self._call("remove_revision", self._index.remove_revision(tenant, document_id, revision))

    async def collections_of(self, tenant: str, document_id: str) -> set[str]:
        """Return the collections of a document."""
        return await self._call("collections_of", self._index.collections_of(tenant, document_id))

    async def count(self, tenant: str | None = None, collection: str | None = None) -> int:
        """Return the exact number of chunk points."""
        return await self._call("count", self._index.count(tenant, collection))

    async def document_revisions(self, after: int = 0, limit: int = 1_000) -> RevisionPage:
        """Return what all tenants have with a higher revision."""
        return await self._call("document_revisions", self._index.document_revisions(after, limit))

    async def chunk_ids(self, start: str | None = None, limit: int = 1_000) -> ChunkIdPage:
        """Return ids of chunks."""
        return await self._call("chunk_ids", self._index.chunk_ids(start, limit))

    async def fence_page(self, start: str | None = None, limit: int = 1_000) -> FencePage:
        """Return fences of all tenants."""
        return await self._call("fence_page", self._index.fence_page(start, limit))

    async def present(self, chunk_ids: Sequence[str]) -> set[str]:
        """Return which of these chunks are stored."""
        return await self._call("present", self._index.present(chunk_ids))

    async def chunks(self, chunk_ids: Sequence[str]) -> list[ChunkPoint]:
        """Return those of these chunks that are stored."""
        return await self._call("chunks", self._index.chunks(chunk_ids))

    async def size_bytes(self) -> int | None:
        """Return how much disk the index takes up."""
        return await self._index.size_bytes()

    async def describe(self) -> IndexDescription:
        """Return which engine, which model and how much there is."""
        return await self._index.describe()

    async def close(self) -> None:
        """Let go of the store."""
        await self._index.close()

    async def _call(self, operation: str, call: Awaitable[T]) -> T:
        with self._span(operation) as current:
            found = await call
            if isinstance(found, Sized):
                current.set_attribute(semantics.DB_RETURNED, len(found))
        return found

    def _span(self, operation: str) -> AbstractContextManager[Span]:
        return database_span(self._tracer, SYSTEM, operation, semantics.index_call(operation))
