"""What the embedder consumes and answers."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from contracts import subjects
from contracts.chunks import ChunksEmbedded, ChunksReady, EmbeddedChunk
from contracts.retrieval import EmbedReply, EmbedRequest
from services.embedder.embedding import Embedder, InvalidAnswer, InvalidVector, Vectors
from shared.errors import PlatformError, Rejected, Unavailable
from shared.logs import get_logger
from shared.messaging.delivery import Delivery
from shared.messaging.publishing import Publisher, message_id

log = get_logger(__name__)

# An endpoint that hangs costs loading a seventh of its time at most.
NEXT_PATIENCE_SECONDS: Final = 10.0
NEXT_PAUSE_SECONDS: Final = 60.0


class EmbedderHandlers:
    """Bulk work from the queue, queries by request; while a next model takes over, bulk work gets its vectors too.

    `batch` is told how many texts come together.
    """

    def __init__(
        self,
        embedder: Embedder,
        publisher: Publisher,
        next_embedder: Embedder | None = None,
        batch: Callable[[int], None] = lambda _texts: None,
    ) -> None:
        self._batch = batch
        self._embedder = embedder
        self._next = next_embedder
        self._next_again = 0.0
        self._publisher = publisher

    async def on_chunks_ready(self, message: ChunksReady, delivery: Delivery) -> None:
        """Embed a batch of chunks on the bulk lane and pass it on."""
        texts = [chunk.embedded_text for chunk in message.chunks]
        self._batch(len(texts))
        vectors = await self._embedder.embed_passages(texts)
        await self._publisher.publish(
            subjects.CHUNKS_EMBEDDED,
            self._embedded(message, vectors, await self._next_vectors(texts)),
            tenant=message.tenant,
            message_id=message_id(message.document_id, message.revision, "embedded", message.batch),
            headers=delivery.forwarded_headers,
        )

    async def on_embed(self, request: EmbedRequest, deadline: float | None) -> EmbedReply:
        """Embed texts that somebody waits for; Unavailable when this replica does not have the model."""
        embedder = self._embedder_of(request.model)
        try:
            vectors = await _embed(embedder, request, deadline)
        except (InvalidVector, InvalidAnswer) as error:
            # Whoever introduces a model must read that its dimension is wrong, and not that there was a fault.
            if request.bulk:
                raise Rejected(str(error), code="invalid_vector") from None
            raise
        return EmbedReply(
            model=embedder.fingerprint,
            dimension=embedder.dimension,
            vectors=[_raw(vector) for vector in vectors],
        )

    def _embedder_of(self, model: str | None) -> Embedder:
        if model is None or model == self._embedder.fingerprint:
            return self._embedder
        if self._next is not None and model == self._next.fingerprint:
            return self._next
        raise Unavailable(
            f"the embedder has no model {model}: it runs {self._embedder.fingerprint}", code="model_mismatch"
        )

    async def _next_vectors(self, texts: list[str]) -> list[bytes] | None:
        """Return the next model's vectors, or None when it fails: it must not hold up what the present one can do."""
        if self._next is None or time.monotonic() < self._next_again:
            return None
        try:
            async with asyncio.timeout(NEXT_PATIENCE_SECONDS):
                return [_raw(vector) for vector in await self._next.embed_passages(texts)]
        except (PlatformError, InvalidVector, TimeoutError) as error:
            reason = str(error) or f"no answer within {NEXT_PATIENCE_SECONDS:g} s"
            log.warning("next_model_failed", model=self._next.fingerprint, reason=reason, left_to="rag reindex")
            self._next_again = time.monotonic() + NEXT_PAUSE_SECONDS
            return None

    def _embedded(self, message: ChunksReady, vectors: Vectors, next_vectors: list[bytes] | None) -> ChunksEmbedded:
        upcoming: Sequence[bytes | None] = next_vectors or [None] * len(message.chunks)
        chunks = [
            EmbeddedChunk(**chunk.model_dump(), vector=_raw(vector), next_vector=next_vector)
            for chunk, vector, next_vector in zip(message.chunks, vectors, upcoming, strict=True)
        ]
        return ChunksEmbedded(
            **message.model_dump(exclude={"chunks"}),
            model=self._embedder.fingerprint,
            dimension=self._embedder.dimension,
            next_model=self._next.fingerprint if self._next and next_vectors else None,
            chunks=chunks,
        )


async def _embed(embedder: Embedder, request: EmbedRequest, deadline: float | None) -> Vectors:
    if request.kind == "query":
        return await embedder.embed_queries(request.texts, deadline=deadline)
    return await embedder.embed_passages(request.texts, deadline=deadline, interactive=not request.bulk)


def _raw(vector: Vectors) -> bytes:
    """Return a vector as little-endian float32, whatever the machine's own order."""
    return np.ascontiguousarray(vector, dtype="<f4").tobytes()
