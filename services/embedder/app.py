"""The embedder process: vectors for chunks from the queue, and for queries before them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from contracts import subjects, topology
from contracts.chunks import ChunksReady
from contracts.retrieval import EmbedRequest
from services.embedder.embedding import Embedder
from services.embedder.handlers import EmbedderHandlers
from services.embedder.lanes import Lanes
from services.embedder.onnx_embedding import OnnxEmbedding
from services.embedder.openai_embedding import OpenAIEmbedding
from services.embedder.settings import EmbedderSettings
from shared import models
from shared.errors import Misconfigured
from shared.service import Lifespan, Service, run_service
from shared.settings import load


def build_lifespan(settings: EmbedderSettings, embedder: Embedder | None = None) -> Lifespan:
    """Return the service's lifespan; tests bring an embedder of their own."""

    @asynccontextmanager
    async def lifespan(service: Service) -> AsyncIterator[None]:
        model = embedder if embedder is not None else await asyncio.to_thread(build_embedder, settings)
        handlers = EmbedderHandlers(model, service.publisher)

        async def describe() -> dict[str, Any]:
            return {"model": model.fingerprint, "dimension": model.dimension}

        service.consume(topology.EMBEDDER, ChunksReady, handlers.on_chunks_ready, workers=settings.embedder_workers)
        service.respond(subjects.EMBED_QUERY, EmbedRequest, handlers.on_embed)
        service.health.checks["model"] = describe
        yield
        await model.close()

    return lifespan


def build_embedder(settings: EmbedderSettings) -> Embedder:
    """Return the embedder that the settings ask for; the local model's files are verified first."""
    if settings.embedding_url:
        return OpenAIEmbedding.connect(settings)
    try:
        files = models.verify(settings.embedding_model, settings.models_dir)
    except models.ModelError as error:
        raise Misconfigured(str(error)) from None
    model = OnnxEmbedding(files.onnx.parent, fingerprint=settings.embedding_fingerprint)
    return Lanes(
        model,
        bulk_threads=settings.embedder_threads or None,
        interactive_threads=settings.embedder_query_threads,
        bulk_niceness=settings.embedder_nice,
        max_waiting_slices=settings.embedder_max_waiting_slices,
        max_waiting_queries=settings.embedder_max_waiting_queries,
    )


def main() -> None:
    """Run the embedder until a signal comes."""
    settings = load(EmbedderSettings)
    run_service("embedder", settings, build_lifespan(settings))


if __name__ == "__main__":
    main()
