"""The vector index in Qdrant's embedded engine: one directory, one process."""

import asyncio
import os
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Self, TypeAlias, TypeVar

from services.retriever import conditions, payload
from services.retriever.filters import Between
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
    IndexUnavailable,
    RevisionPage,
)
from services.retriever.qdrant_edge_directory import Manifest, lock_directory, open_shard, stored_bytes
from services.retriever.qdrant_edge_shard import QdrantEdgeShard
from services.retriever.write_queue import WriteQueue

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class _Upsert:
    points: Sequence[ChunkPoint]

    @property
    def weight(self) -> int:
        return len(self.points)


@dataclass(frozen=True, slots=True)
class _RaiseFence:
    fence: Fence
    weight: int = 1


@dataclass(frozen=True, slots=True)
class _Remove:
    tenant: str
    document_id: str
    revisions: Between
    weight: int = 1


_Write: TypeAlias = _Upsert | _RaiseFence | _Remove


class QdrantEdgeIndex:
    """Implements VectorIndex within this process; made by `open`.

    Version 0.9 of the engine keeps the interpreter lock during every call, so each call stops the whole process for
    as long as it takes: writes go in small batches, and reads have a thread of their own, so that a search waits for
    one batch and not for the queue. A write that returned is in the write-ahead log; a power cut may take what the
    system had not yet written to disk.
    """

    def __init__(
        self, directory: Path, shard: QdrantEdgeShard, manifest: Manifest, lock: int, max_batch_points: int
    ) -> None:
        self._directory = directory
        self._shard = shard
        self._manifest = manifest
        self._lock = lock
        self._max_batch_points = max_batch_points
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="index-reader")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="index-writer")
        self._writes: WriteQueue[_Write] = WriteQueue(self._apply, self._writer, max_batch_points)
        self._closed = False

    @classmethod
    async def open(
        cls,
        directory: Path,
        *,
        dimension: int,
        fingerprint: str,
        max_batch_points: int = 64,
        flush_every_points: int = 20_000,
    ) -> Self:
        """Open the index in `directory`, creating it on first use.

        Raises IndexLocked when it is open elsewhere, ModelMismatch when it holds another model's vectors, and
        IndexUnreadable when this release cannot read it.
        """
        lock = lock_directory(directory)
        manifest = Manifest(fingerprint, dimension)
        try:
            shard = await asyncio.to_thread(open_shard, directory, manifest)
        except BaseException:
            os.close(lock)
            raise
        return cls(directory, QdrantEdgeShard(shard, flush_every_points), manifest, lock, max_batch_points)

    async def upsert(self, points: Sequence[ChunkPoint]) -> None:
        """Store points, replacing those of the same chunk id; raises ModelMismatch or InvalidPoint, storing none."""
        payload.check_points(points, self._manifest.dimension, self._manifest.fingerprint)
        size = self._max_batch_points
        slices = [points[start : start + size] for start in range(0, len(points), size)]
        await asyncio.gather(*(self._write(_Upsert(each)) for each in slices))

    async def search(self, query: IndexQuery) -> list[Hit]:
        """Return at most `query.limit` hits, best first; raises ModelMismatch for a vector of another dimension."""
        payload.check_query(query, self._manifest.dimension, self._manifest.fingerprint)
        return await self._read(self._shard.search, query)

    async def search_fenced(self, query: IndexQuery) -> FencedHits:
        """Return what `search` does, and the fences that decide about it, read behind it on the same thread."""
        payload.check_query(query, self._manifest.dimension, self._manifest.fingerprint)
        return await self._read(self._shard.search_fenced, query)

    async def passages(self, span: DocumentSpan, limit: int) -> list[Hit]:
        """Return at most `limit` chunks of a part of a document, by revision and ordinal."""
        return await self._read(self._shard.passages, span, limit)

    async def raise_fence(
        self, tenant: str, document_id: str, *, visible: int | None = None, floor: int | None = None
    ) -> None:
        """Lift each given number of the fence to at least this value."""
        await self._write(_RaiseFence(Fence(tenant, document_id, visible or 0, floor or 0)))

    async def fences(self, tenant: str, document_ids: Collection[str]) -> dict[str, Fence]:
        """Return the fences of those documents that have one."""
        return await self._read(self._shard.fences, tenant, document_ids) if document_ids else {}

    async def remove_revisions(self, tenant: str, document_id: str, below: int) -> None:
        """Delete the document's points with a revision lower than `below`."""
        await self._write(_Remove(tenant, document_id, conditions.revisions(below=below)))

    async def remove_revision(self, tenant: str, document_id: str, revision: int) -> None:
        """Delete the document's points of exactly this revision."""
        await self._write(_Remove(tenant, document_id, conditions.only_revision(revision)))

    async def collections_of(self, tenant: str, document_id: str) -> set[str]:
        """Return the collections in which any revision of the document has points."""
        return await self._read(self._shard.collections_of, tenant, document_id)

    async def count(self, tenant: str | None = None, collection: str | None = None) -> int:
        """Return the exact number of chunk points."""
        return await self._read(self._shard.count, tenant, collection)

    async def document_revisions(self, after: int = 0, limit: int = 1_000) -> RevisionPage:
        """Return what all tenants have with a revision above `after`, looking at about `limit` points."""
        return await self._read(self._shard.document_revisions, after, limit)

    async def chunk_ids(self, start: str | None = None, limit: int = 1_000) -> ChunkIdPage:
        """Return ids of the chunks of all tenants, from `start` on."""
        return await self._read(self._shard.chunk_ids, start, limit)

    async def fence_page(self, start: str | None = None, limit: int = 1_000) -> FencePage:
        """Return the fences of all tenants, from `start` on."""
        return await self._read(self._shard.fence_page, start, limit)

    async def present(self, chunk_ids: Sequence[str]) -> set[str]:
        """Return which of these chunks are stored."""
        return await self._read(self._shard.present, chunk_ids)

    async def chunks(self, chunk_ids: Sequence[str]) -> list[ChunkPoint]:
        """Return those of these chunks that are stored, with their vectors."""
        return await self._read(self._shard.chunks, chunk_ids)

    async def size_bytes(self) -> int | None:
        """Return how much disk the files of the index take up, its log of writes included."""
        return await asyncio.to_thread(stored_bytes, self._directory)

    async def describe(self) -> IndexDescription:
        """Return which engine, which model and how much there is."""
        points = await self.count()
        engine_version = version("qdrant-edge-py")
        return IndexDescription(
            "qdrant-edge", engine_version, points, self._manifest.dimension, self._manifest.fingerprint
        )

    async def close(self) -> None:
        """Finish the writes that wait, flush, and let go of the directory; closing twice does nothing."""
        if self._closed:
            return
        self._closed = True
        await self._writes.join()
        try:
            # On the reader's thread, behind the reads that were asked for before.
            await asyncio.get_running_loop().run_in_executor(self._reader, self._shard.close)
        finally:
            self._reader.shutdown(wait=False)
            self._writer.shutdown(wait=False)
            os.close(self._lock)

    async def _read(self, call: Callable[..., ResultT], *arguments: object) -> ResultT:
        self._check_open()
        return await asyncio.get_running_loop().run_in_executor(self._reader, call, *arguments)

    def _write(self, write: _Write) -> asyncio.Future[None]:
        self._check_open()
        return self._writes.submit(write)

    def _check_open(self) -> None:
        if self._closed:
            raise IndexUnavailable("the embedded index is closed")

    def _apply(self, writes: Sequence[_Write]) -> None:
        """Apply writes in order, neighbours of one kind in one call."""
        for kind, group in groupby(writes, key=type):
            if kind is _Upsert:
                self._shard.upsert([point for write in group if isinstance(write, _Upsert) for point in write.points])
            elif kind is _RaiseFence:
                self._shard.raise_fences([write.fence for write in group if isinstance(write, _RaiseFence)])
            else:
                self._remove([write for write in group if isinstance(write, _Remove)])

    def _remove(self, writes: Sequence[_Remove]) -> None:
        for write in writes:
            self._shard.remove(write.tenant, write.document_id, write.revisions)
