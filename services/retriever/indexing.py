"""Putting chunks into the index and taking outdated ones out."""

import asyncio

from contracts.chunks import ChunksEmbedded, EmbeddedChunk
from contracts.facts import DocumentDeleted, DocumentIndexed, DocumentSuperseded
from contracts.messages import Fact
from services.retriever.bm25 import chunk_terms
from services.retriever.index import ChunkPoint, VectorIndex, collection_fence
from shared.errors import Rejected


class Indexing:
    """Writes to the index; every call may be repeated, come late, or come in another order."""

    def __init__(self, index: VectorIndex, *, model: str) -> None:
        self._index = index
        self._model = model

    async def add(self, batch: ChunksEmbedded) -> None:
        """Store a batch; Rejected when its vectors come from another model than the index holds."""
        if batch.model != self._model:
            raise Rejected(
                f"vectors of model {batch.model} do not belong into an index of {self._model}",
                code="model_mismatch",
                field="model",
            )
        await self._index.upsert([await _point(batch, chunk) for chunk in batch.chunks])
        fences = await self._index.fences(batch.tenant, {batch.document_id, collection_fence(batch.collection)})
        if any(batch.revision < max(fence.floor, fence.visible) for fence in fences.values()):
            # It came late: the fence hides it already, and nobody else would come to remove it.
            await self._index.remove_revision(batch.tenant, batch.document_id, batch.revision)

    async def clean_up(self, fact: Fact) -> set[str] | None:
        """Follow what persistence decided about a document.

        Return the collections in which that may have shown or hidden something; none are named when it can't be told
        any more which ones, None says that nothing has changed.
        """
        match fact:
            case DocumentIndexed():
                await self._index.raise_fence(fact.tenant, fact.document_id, visible=fact.revision)
                return await self._remove_below(fact.tenant, fact.document_id, fact.revision)
            case DocumentDeleted():
                await self._index.raise_fence(fact.tenant, fact.document_id, floor=fact.revision)
                return await self._remove_below(fact.tenant, fact.document_id, fact.revision)
            case DocumentSuperseded():
                return await self._remove_superseded(fact)
        return None

    async def _remove_below(self, tenant: str, document_id: str, revision: int) -> set[str]:
        # Asked after the fence and before the removal: what the fence has hidden or shown is all still there, unless
        # this is the repeat of a removal.
        collections = await self._index.collections_of(tenant, document_id)
        await self._index.remove_revisions(tenant, document_id, below=revision)
        return collections

    async def _remove_superseded(self, fact: DocumentSuperseded) -> set[str] | None:
        """An outdated revision that still answers stays until its successor is complete: an update leaves no gap."""
        fence = (await self._index.fences(fact.tenant, {fact.document_id})).get(fact.document_id)
        answers = fence is not None and fence.visible == fact.revision and fence.floor <= fact.revision
        if answers:
            return None
        collections = await self._index.collections_of(fact.tenant, fact.document_id)
        await self._index.remove_revision(fact.tenant, fact.document_id, fact.revision)
        return collections


async def _point(batch: ChunksEmbedded, chunk: EmbeddedChunk) -> ChunkPoint:
    # Half a millisecond of counting words a chunk: a search that came meanwhile goes first.
    await asyncio.sleep(0)
    return ChunkPoint(
        tenant=batch.tenant,
        collection=batch.collection,
        document_id=batch.document_id,
        revision=batch.revision,
        ordinal=chunk.ordinal,
        chunk_id=chunk.chunk_id,
        vector=chunk.vector_array(),
        sparse=chunk_terms(chunk.embedded_text),
        text=chunk.text,
        title=batch.title,
        uri=batch.uri,
        metadata=batch.metadata,
        page=chunk.page,
        heading_path=chunk.heading_path,
        char_start=chunk.char_start,
        char_end=chunk.char_end,
        prefix=chunk.prefix,
    )
