"""The retriever process: the only one that touches the vector index."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from contracts import subjects, topology
from contracts.chunks import ChunksEmbedded
from contracts.retrieval import (
    REINDEX_STEP_SECONDS,
    EpochRequest,
    FenceRequest,
    PassagesRequest,
    ReindexRequest,
    RetrieveRequest,
)
from services.retriever.audit_handlers import AuditHandlers
from services.retriever.auditing import Auditing
from services.retriever.describing import describe
from services.retriever.epochs import OwnEpochs, StoredEpochs
from services.retriever.generations import Generation
from services.retriever.handlers import PassageEmbedding, RetrieverHandlers
from services.retriever.indexing import Indexing
from services.retriever.metrics import IndexGauges, SearchMetrics
from services.retriever.observed_index import ObservedIndex
from services.retriever.onnx_cross_encoder import OnnxCrossEncoder
from services.retriever.opening import open_indexes
from services.retriever.reindexing import Reindexing
from services.retriever.rerank import Reranker
from services.retriever.searching import build_search
from services.retriever.settings import RetrieverSettings
from services.retriever.writing import Writing
from shared.caching.building import build_cache
from shared.caching.metrics import CacheMetrics
from shared.messaging.requests import Requester
from shared.service import Lifespan, Service
from shared.serving import run_service
from shared.settings import load


def build_lifespan(settings: RetrieverSettings) -> Lifespan:
    """Return the service's lifespan."""

    @asynccontextmanager
    async def lifespan(service: Service) -> AsyncIterator[None]:
        generations = await open_indexes(settings)
        generations.observe(partial(ObservedIndex, tracer=service.telemetry.tracer))
        epochs = StoredEpochs(generations) if settings.qdrant_url else OwnEpochs(generations)
        metrics = CacheMetrics(service.telemetry.meter)
        cache = build_cache(settings, metrics, service.telemetry.tracer)
        reranker = build_reranker(settings)
        bulk = Requester(service.client, service.telemetry.tracer, timeout_seconds=REINDEX_STEP_SECONDS)
        embed_passages = PassageEmbedding(bulk)
        handlers = RetrieverHandlers(
            generations,
            Writing(generations, _indexing, embed_passages, epochs),
            {
                each.model: build_search(each, service, reranker, settings, cache, metrics)
                for each in generations.opened
            },
            Reindexing(generations, embed_passages),
            service.publisher,
            epochs,
            SearchMetrics(service.telemetry.meter),
            service.metrics.batch("retriever"),
        )
        service.consume(
            topology.RETRIEVER, ChunksEmbedded, handlers.on_chunks_embedded, workers=settings.retriever_workers
        )
        service.consume_raw(topology.CLEANUP, handlers.on_fact, workers=settings.retriever_cleanup_workers)
        service.respond(subjects.RETRIEVE, RetrieveRequest, handlers.on_retrieve)
        service.respond(subjects.INDEX_EPOCH, EpochRequest, handlers.on_epoch)
        service.respond(subjects.READ_PASSAGES, PassagesRequest, handlers.on_passages)
        service.respond(subjects.INDEX_FENCE, FenceRequest, handlers.on_fence)
        service.respond(subjects.INDEX_REINDEX, ReindexRequest, handlers.on_reindex, concurrency=1)
        AuditHandlers(Auditing(generations, epochs)).bind(service)
        service.health.checks["index"] = partial(describe, generations)
        service.health.checks["cache"] = cache.describe
        beside = [asyncio.create_task(IndexGauges(service.telemetry.meter).keep_looking(generations))]
        if settings.qdrant_url:
            beside.append(asyncio.create_task(generations.follow()))
        try:
            yield
        finally:
            await asyncio.to_thread(reranker.close)
            for task in beside:
                task.cancel()
            await cache.close()
            await generations.close()

    return lifespan


def build_reranker(settings: RetrieverSettings) -> Reranker:
    """Return the reranker; Misconfigured when its model is not there."""
    return Reranker(
        OnnxCrossEncoder.pinned(settings.rerank_model, settings.models_dir),
        candidates=settings.rerank_candidates,
        budget_seconds=settings.rerank_budget_seconds,
    )


def _indexing(generation: Generation) -> Indexing:
    return Indexing(generation.index, model=generation.model)


def main() -> None:
    """Run the retriever until a signal comes."""
    settings = load(RetrieverSettings)
    run_service("retriever", settings, build_lifespan(settings))


if __name__ == "__main__":
    main()
