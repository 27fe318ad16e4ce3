"""What the embedder consumes and answers."""

import numpy as np

from contracts import subjects
from contracts.chunks import ChunksEmbedded, ChunksReady, EmbeddedChunk
from contracts.retrieval import EmbedReply, EmbedRequest
from services.embedder.embedding import Embedder, Vectors
from shared.messaging.delivery import Delivery
from shared.messaging.publishing import Publisher, message_id


class EmbedderHandlers:
    """Bulk work from the queue, queries by request."""

    def __init__(self, embedder: Embedder, publisher: Publisher) -> None:
        self._embedder = embedder
        self._publisher = publisher

    async def on_chunks_ready(self, message: ChunksReady, delivery: Delivery) -> None:
        """Embed a batch of chunks on the bulk lane and pass it on."""
        vectors = await self._embedder.embed_passages([chunk.embedded_text for chunk in message.chunks])
        await self._publisher.publish(
            subjects.CHUNKS_EMBEDDED,
            self._embedded(message, vectors),
            tenant=message.tenant,
            message_id=message_id(message.document_id, message.revision, "embedded", message.batch),
            headers=delivery.forwarded_headers,
        )

    async def on_embed(self, request: EmbedRequest, deadline: float | None) -> EmbedReply:
        """Embed texts that somebody waits for."""
        if request.kind == "query":
            vectors = await self._embedder.embed_queries(request.texts, deadline=deadline)
        else:
            vectors = await self._embedder.embed_passages(request.texts, deadline=deadline, interactive=True)
        return EmbedReply(
            model=self._embedder.fingerprint,
            dimension=self._embedder.dimension,
            vectors=[_raw(vector) for vector in vectors],
        )

    def _embedded(self, message: ChunksReady, vectors: Vectors) -> ChunksEmbedded:
        chunks = [
            EmbeddedChunk(**chunk.model_dump(), vector=_raw(vector))
            for chunk, vector in zip(message.chunks, vectors, strict=True)
        ]
        return ChunksEmbedded(
            **message.model_dump(exclude={"chunks"}),
            model=self._embedder.fingerprint,
            dimension=self._embedder.dimension,
            chunks=chunks,
        )


def _raw(vector: Vectors) -> bytes:
    """Return a vector as little-endian float32, whatever the machine's own order."""
    return np.ascontiguousarray(vector, dtype="<f4").tobytes()
