"""What the retriever consumes and answers."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from opentelemetry.metrics import NoOpMeterProvider

from contracts import subjects
from contracts.chunks import ChunksEmbedded
from contracts.codec import decode
from contracts.facts import FACT_TYPES, ChunksIndexed
from contracts.retrieval import (
    MAX_TEXTS_PER_REQUEST,
    EmbedReply,
    EmbedRequest,
    EpochReply,
    EpochRequest,
    FenceReply,
    FenceRequest,
    PassagesReply,
    PassagesRequest,
    ReindexReply,
    ReindexRequest,
    RetrieveReply,
    RetrieveRequest,
)
from services.retriever.epochs import Epochs
from services.retriever.generations import Generations
from services.retriever.index import Vector
from services.retriever.metrics import SearchMetrics
from services.retriever.reading import Reading
from services.retriever.reindexing import Reindexing
from services.retriever.search import Search
from services.retriever.writing import Writing
from shared.errors import Unavailable
from shared.logs import bind_document
from shared.messaging.delivery import Delivery
from shared.messaging.publishing import Publisher
from shared.messaging.requests import Requester


class RetrieverHandlers:
    """Indexing, clean-up after updates and deletes, search, and the way to another model.

    `searches` has the search of each open index by its model. `batch` is told how many points come together.
    """

    def __init__(
        self,
        generations: Generations,
        writing: Writing,
        searches: Mapping[str, Search],
        reindexing: Reindexing,
        publisher: Publisher,
        epochs: Epochs,
        searched: SearchMetrics | None = None,
        batch: Callable[[int], None] = lambda _points: None,
    ) -> None:
        self._searched = searched or SearchMetrics(NoOpMeterProvider().get_meter("retriever"))
        self._batch = batch
        self._generations = generations
        self._writing = writing
        self._searches = searches
        self._reindexing = reindexing
        self._publisher = publisher
        self._epochs = epochs

    async def on_chunks_embedded(self, message: ChunksEmbedded, delivery: Delivery) -> None:
        """Index a batch and say so."""
        self._batch(len(message.chunks))
        await self._writing.add(message)
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
        fact = decode(FACT_TYPES[delivery.subject], delivery.payload)
        bind_document(fact)
        await self._writing.clean_up(fact)

    async def on_retrieve(self, request: RetrieveRequest, deadline: float | None) -> RetrieveReply:
        """Search."""
        return await self._searched.retrieve(self._searches[self._generations.active.model], request, deadline)

    async def on_epoch(self, request: EpochRequest, deadline: float | None) -> EpochReply:
        """Say up to which change a search that begins now sees everything."""
        return EpochReply(epoch=await self._epochs.current(request.tenant, request.collection))

    async def on_passages(self, request: PassagesRequest, deadline: float | None) -> PassagesReply:
        """Read a part of one document."""
        return await Reading(self._generations.active.index).passages(request)

    async def on_fence(self, request: FenceRequest, deadline: float | None) -> FenceReply:
        """Hide what was deleted, before anybody is told that it is."""
        fence = await self._writing.raise_floor(request.tenant, request.document_id, request.floor)
        return FenceReply(floor=fence.floor)

    async def on_reindex(self, request: ReindexRequest, deadline: float | None) -> ReindexReply:
        """Do one step towards the next model."""
        return await self._reindexing.step(request)


class QueryEmbedding:
    """Asks the embedder for the vector of a query."""

    def __init__(self, requester: Requester, *, model: str) -> None:
        self._requester = requester
        self._model = model

    async def __call__(self, query: str, deadline: float | None) -> Vector:
        """Return the query's vector, shape (dimension,); Unavailable when the embedder runs another model."""
        request = EmbedRequest(texts=[query], model=self._model)
        reply = await self._requester.ask(subjects.EMBED_QUERY, request, EmbedReply, deadline=deadline)
        return _vectors(reply, self._model)[0]


class PassageEmbedding:
    """Asks the embedder for the vectors of passages, behind everybody who waits for an answer."""

    def __init__(self, requester: Requester) -> None:
        self._requester = requester

    async def __call__(self, model: str, texts: Sequence[str]) -> list[Vector]:
        """Return a vector for each text, shape (dimension,); Unavailable when the embedder lacks the model."""
        found: list[Vector] = []
        for start in range(0, len(texts), MAX_TEXTS_PER_REQUEST):
            batch = list(texts[start : start + MAX_TEXTS_PER_REQUEST])
            request = EmbedRequest(texts=batch, kind="passage", model=model, bulk=True)
            found += _vectors(await self._requester.ask(subjects.EMBED_QUERY, request, EmbedReply), model)
        return found


def _vectors(reply: EmbedReply, model: str) -> list[Vector]:
    # An embedder of an earlier release takes no notice of the model that is asked for.
    if reply.model != model:
        raise Unavailable(f"the embedder runs {reply.model}, the index holds {model}", code="model_mismatch")
    return [np.frombuffer(vector, dtype="<f4") for vector in reply.vectors]
