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

    async def clean_up(self, fact: Fact) -> None:
        """Follow what persistence decided about a document."""
        match fact:
            case DocumentIndexed():
                await self._index.raise_fence(fact.tenant, fact.document_id, visible=fact.revision)
                await self._index.remove_revisions(fact.tenant, fact.document_id, below=fact.revision)
            case DocumentDeleted():
                await self._index.raise_fence(fact.tenant, fact.document_id, floor=fact.revision)
                await self._index.remove_revisions(fact.tenant, fact.document_id, below=fact.revision)
            case DocumentSuperseded():
                await self._remove_superseded(fact)

    async def _remove_superseded(self, fact: DocumentSuperseded) -> None:
        """An outdated revision that still answers stays until its successor is complete: an update leaves no gap."""
        fence = (await self._index.fences(fact.tenant, {fact.document_id})).get(fact.document_id)
        answers = fence is not None and fence.visible == fact.revision and fence.floor <= fact.revision
        if not answers:
            await self._index.remove_revision(fact.tenant, fact.document_id, fact.revision)


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
