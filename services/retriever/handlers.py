"""What the retriever consumes and answers."""

import numpy as np

from contracts import subjects
from contracts.chunks import ChunksEmbedded
from contracts.codec import decode
from contracts.facts import FACT_TYPES, ChunksIndexed
from contracts.retrieval import (
    EmbedReply,
    EmbedRequest,
    FenceReply,
    FenceRequest,
    IndexCountsReply,
    IndexCountsRequest,
    RetrieveReply,
    RetrieveRequest,
)
from services.retriever.index import Vector, VectorIndex
from services.retriever.indexing import Indexing
from services.retriever.search import Search
from shared.errors import Unavailable
from shared.messaging.delivery import Delivery
from shared.messaging.publishing import Publisher
from shared.messaging.requests import Requester


class RetrieverHandlers:
    """Indexing, clean-up after updates and deletes, and search."""

    def __init__(self, index: VectorIndex, indexing: Indexing, search: Search, publisher: Publisher) -> None:
        self._index = index
        self._indexing = indexing
        self._search = search
        self._publisher = publisher

    async def on_chunks_embedded(self, message: ChunksEmbedded, delivery: Delivery) -> None:
        """Index a batch and say so."""
        await self._indexing.add(message)
        fact = ChunksIndexed(
            tenant=message.tenant,
            document_id=message.document_id,
            revision=message.revision,
            batch=message.batch,
            chunks=len(message.chunks),
        )
        await self._publisher.publish_fact(fact, part=message.batch, headers=delivery.forwarded_headers)

    async def on_fact(self, delivery: Delivery) -> None:
        """Clean up after a document was indexed, superseded or deleted."""
        await self._indexing.clean_up(decode(FACT_TYPES[delivery.subject], delivery.payload))

    async def on_retrieve(self, request: RetrieveRequest, deadline: float | None) -> RetrieveReply:
        """Search."""
        return await self._search.retrieve(request, deadline)

    async def on_fence(self, request: FenceRequest, deadline: float | None) -> FenceReply:
        """Hide what was deleted, before anybody is told that it is."""
        await self._index.raise_fence(request.tenant, request.document_id, floor=request.floor)
        fence = (await self._index.fences(request.tenant, {request.document_id}))[request.document_id]
        return FenceReply(floor=fence.floor)

    async def on_counts(self, request: IndexCountsRequest, deadline: float | None) -> IndexCountsReply:
        """Count."""
        chunks = await self._index.count(request.tenant, request.collection)
        description = await self._index.describe()
        return IndexCountsReply(chunks=chunks, engine=description.engine, model=description.fingerprint)


class QueryEmbedding:
    """Asks the embedder for the vector of a query."""

    def __init__(self, requester: Requester, *, model: str) -> None:
        self._requester = requester
        self._model = model

    async def __call__(self, query: str, deadline: float | None) -> Vector:
        """Return the query's vector, shape (dimension,); Unavailable when the embedder runs another model."""
        request = EmbedRequest(texts=[query])
        reply = await self._requester.ask(subjects.EMBED_QUERY, request, EmbedReply, deadline=deadline)
        if reply.model != self._model:
            raise Unavailable(f"the embedder runs {reply.model}, the index holds {self._model}", code="model_mismatch")
        return np.frombuffer(reply.vectors[0], dtype="<f4")
