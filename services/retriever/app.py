"""The retriever process: the only one that touches the vector index."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from qdrant_client import AsyncQdrantClient

from contracts import subjects, topology
from contracts.chunks import ChunksEmbedded
from contracts.retrieval import FenceRequest, IndexCountsRequest, RetrieveRequest
from services.retriever.handlers import QueryEmbedding, RetrieverHandlers
from services.retriever.index import IndexLocked, IndexUnreadable, ModelMismatch, VectorIndex
from services.retriever.indexing import Indexing
from services.retriever.onnx_cross_encoder import OnnxCrossEncoder
from services.retriever.qdrant_edge_index import QdrantEdgeIndex
from services.retriever.qdrant_server_index import QdrantServerIndex
from services.retriever.rerank import Reranker
from services.retriever.search import Search, SearchLimits
from services.retriever.settings import RetrieverSettings
from shared import models
from shared.errors import Misconfigured, Unavailable
from shared.service import Lifespan, Service, run_service
from shared.settings import load


def build_lifespan(settings: RetrieverSettings) -> Lifespan:
    """Return the service's lifespan."""

    @asynccontextmanager
    async def lifespan(service: Service) -> AsyncIterator[None]:
        model = settings.embedding_fingerprint
        index = await open_index(settings, model)
        embed_query = QueryEmbedding(service.requester, model=model)
        reranker = build_reranker(settings)
        limits = SearchLimits(
            candidates=settings.retriever_search_candidates, max_rounds=settings.retriever_search_rounds
        )
        search = Search(index, embed_query, reranker, model=model, limits=limits)
        handlers = RetrieverHandlers(index, Indexing(index, model=model), search, service.publisher)

        async def describe() -> dict[str, Any]:
            found = await index.describe()
            return {"engine": found.engine, "version": found.version, "chunks": found.chunk_points, "model": model}

        service.consume(
            topology.RETRIEVER, ChunksEmbedded, handlers.on_chunks_embedded, workers=settings.retriever_workers
        )
        service.consume_raw(topology.CLEANUP, handlers.on_fact, workers=settings.retriever_cleanup_workers)
        service.respond(subjects.RETRIEVE, RetrieveRequest, handlers.on_retrieve)
        service.respond(subjects.INDEX_FENCE, FenceRequest, handlers.on_fence)
        service.respond(subjects.INDEX_COUNTS, IndexCountsRequest, handlers.on_counts)
        service.health.checks["index"] = describe
        yield
        await asyncio.to_thread(reranker.close)
        await index.close()

    return lifespan


def build_reranker(settings: RetrieverSettings) -> Reranker:
    """Return the reranker; Misconfigured when its model is not there."""
    try:
        files = models.locate(settings.rerank_model, settings.models_dir)
    except models.ModelError as error:
        raise Misconfigured(str(error)) from None
    return Reranker(
        OnnxCrossEncoder(files.onnx, files.tokenizer),
        candidates=settings.rerank_candidates,
        budget_seconds=settings.rerank_budget_seconds,
    )


async def open_index(settings: RetrieverSettings, model: str) -> VectorIndex:
    """Open the index that the settings name.

    Misconfigured when it belongs to another model or release, Unavailable while another process holds it.
    """
    try:
        if settings.qdrant_url is None:
            folder = settings.data_dir / "index"
            return await QdrantEdgeIndex.open(folder, dimension=settings.embedding_dimension, fingerprint=model)
        return await QdrantServerIndex.open(
            _qdrant_client(settings),
            prefix=settings.qdrant_prefix,
            dimension=settings.embedding_dimension,
            fingerprint=model,
            replication_factor=settings.qdrant_replication_factor,
        )
    except IndexLocked as error:
        raise Unavailable(str(error)) from None
    except (IndexUnreadable, ModelMismatch) as error:
        raise Misconfigured(str(error)) from None


def _qdrant_client(settings: RetrieverSettings) -> AsyncQdrantClient:
    key = settings.qdrant_api_key.get_secret_value() if settings.qdrant_api_key else None
    return AsyncQdrantClient(url=settings.qdrant_url, api_key=key, timeout=settings.qdrant_timeout_seconds)


def main() -> None:
    """Run the retriever until a signal comes."""
    settings = load(RetrieverSettings)
    run_service("retriever", settings, build_lifespan(settings))


if __name__ == "__main__":
    main()
