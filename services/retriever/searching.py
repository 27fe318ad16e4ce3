"""Puts a search together from its parts."""

from services.retriever.generations import Generation
from services.retriever.handlers import QueryEmbedding
from services.retriever.opening import dimension_of
from services.retriever.query_cache import CachedQueryEmbedding
from services.retriever.rerank import Reranker
from services.retriever.search import Search, SearchLimits
from services.retriever.settings import RetrieverSettings
from shared.caching.cache import Cache
from shared.caching.metrics import CacheMetrics
from shared.service import Service


def build_search(
    generation: Generation,
    service: Service,
    reranker: Reranker,
    settings: RetrieverSettings,
    cache: Cache,
    metrics: CacheMetrics,
) -> Search:
    """Return the search of one index; vectors of queries come from the cache, else from the embedder."""
    embed_query = CachedQueryEmbedding(
        QueryEmbedding(service.requester, model=generation.model),
        cache,
        model=generation.model,
        dimension=dimension_of(settings, generation.model),
        seconds=settings.query_cache_seconds,
        metrics=metrics,
    )
    limits = SearchLimits(candidates=settings.retriever_search_candidates, max_rounds=settings.retriever_search_rounds)
    return Search(generation.index, embed_query, reranker, model=generation.model, limits=limits)
