"""One search, from the query's text to the hits that may be shown."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from contracts.retrieval import RetrievedChunk, RetrieveReply, RetrieveRequest
from services.retriever.bm25 import query_terms
from services.retriever.calibration import words_weight_of
from services.retriever.filters import Filter, FilterError, parse_filter
from services.retriever.index import Hit, IndexQuery, SearchMode, Vector, VectorIndex
from services.retriever.rerank import Reranker
from services.retriever.visibility import search_visible
from shared.errors import Rejected

EmbedQuery = Callable[[str, str, float | None], Awaitable[Vector]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchLimits:
    """How far a search goes: `candidates` of each ranking before fusion, `max_rounds` looks behind hidden hits."""

    candidates: int = 100
    max_rounds: int = 4


class Search:
    """Answers retrieve requests from the index.

    `embed_query` returns the vector that the index's model gives a tenant's query.
    """

    def __init__(
        self, index: VectorIndex, embed_query: EmbedQuery, reranker: Reranker, *, model: str, limits: SearchLimits
    ) -> None:
        self._index = index
        self._embed_query = embed_query
        self._reranker = reranker
        self._model = model
        self._limits = limits

    async def retrieve(self, request: RetrieveRequest, deadline: float | None) -> RetrieveReply:
        """Return the chunks that fit best; Rejected names the field that can't be searched by."""
        condition, mode = read_filter(request.filter), SearchMode(request.mode)
        clock = _Stopwatch()
        vector = None
        if mode != SearchMode.SPARSE:
            vector = await self._embed_query(request.tenant, request.query, deadline)
        clock.lap("embed")
        hits = await search_visible(
            self._index, self._query(request, mode, vector, condition), max_rounds=self._limits.max_rounds
        )
        clock.lap("index")
        reranked = None
        if request.rerank:
            better = await self._reranker.rerank(request.query, hits, deadline)
            reranked, hits = better is not None, better or hits
            clock.lap("rerank")
        shown = [retrieved(hit) for hit in hits[: request.top_k]]
        return RetrieveReply(hits=shown, took_ms=clock.took_ms, model=self._model, reranked=reranked)

    def _query(
        self, request: RetrieveRequest, mode: SearchMode, vector: Vector | None, condition: Filter | None
    ) -> IndexQuery:
        return IndexQuery(
            tenant=request.tenant,
            limit=max(request.top_k, self._reranker.candidates) if request.rerank else request.top_k,
            mode=mode,
            vector=vector,
            sparse=query_terms(request.query) if mode != SearchMode.DENSE else None,
            collection=request.collection,
            filter=condition,
            candidates=self._limits.candidates,
            words_weight=words_weight_of(self._model),
        )


class _Stopwatch:
    def __init__(self) -> None:
        self.took_ms: dict[str, float] = {}
        self._since = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.took_ms[name] = (now - self._since) * 1000
        self._since = now


def read_filter(wanted: Mapping[str, Any] | None) -> Filter | None:
    """Return the filter of a request, None without one; Rejected names what cannot be searched by."""
    try:
        return parse_filter(dict(wanted)) if wanted else None
    except FilterError as error:
        raise Rejected(str(error), code="invalid_filter", field="filter") from None


def retrieved(hit: Hit) -> RetrievedChunk:
    """Return a hit as other services are told of it."""
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
