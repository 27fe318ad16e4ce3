"""One search, from the query's text to the hits that may be shown."""

import time
from collections.abc import Awaitable, Callable

from contracts.retrieval import RetrievedChunk, RetrieveReply, RetrieveRequest
from services.retriever.filters import Filter, FilterError, parse_filter
from services.retriever.index import Hit, IndexQuery, Vector, VectorIndex
from services.retriever.visibility import search_visible
from shared.errors import Rejected

EmbedQuery = Callable[[str, float | None], Awaitable[Vector]]


class Search:
    """Answers retrieve requests from the index; `embed_query` returns the query's vector of the index's model."""

    def __init__(self, index: VectorIndex, embed_query: EmbedQuery, *, model: str, max_rounds: int) -> None:
        self._index = index
        self._embed_query = embed_query
        self._model = model
        self._max_rounds = max_rounds

    async def retrieve(self, request: RetrieveRequest, deadline: float | None) -> RetrieveReply:
        """Return the chunks that fit best; Rejected names the field that can't be searched by."""
        if request.mode != "dense":
            raise Rejected(f"mode {request.mode!r} is not available; use dense", code="not_available", field="mode")
        condition = _filter(request)
        started = time.perf_counter()
        vector = await self._embed_query(request.query, deadline)
        embedded = time.perf_counter()
        query = IndexQuery(
            tenant=request.tenant,
            limit=request.top_k,
            vector=vector,
            collection=request.collection,
            filter=condition,
        )
        hits = await search_visible(self._index, query, max_rounds=self._max_rounds)
        took = {"embed": (embedded - started) * 1000, "index": (time.perf_counter() - embedded) * 1000}
        return RetrieveReply(hits=[_retrieved(hit) for hit in hits], took_ms=took, model=self._model)


def _filter(request: RetrieveRequest) -> Filter | None:
    try:
        return parse_filter(request.filter) if request.filter else None
    except FilterError as error:
        raise Rejected(str(error), code="invalid_filter", field="filter") from None


def _retrieved(hit: Hit) -> RetrievedChunk:
    # Built from our own index, not from outside: validating it again would cost more than the search.
    return RetrievedChunk.model_construct(
        document_id=hit.document_id,
        chunk_id=hit.chunk_id,
        collection=hit.collection,
        revision=hit.revision,
        ordinal=hit.ordinal,
        title=hit.title,
        uri=hit.uri,
        text=hit.text,
        score=hit.score,
        similarity=hit.similarity,
        metadata=dict(hit.metadata),
        page=hit.page,
        heading_path=hit.heading_path,
    )
