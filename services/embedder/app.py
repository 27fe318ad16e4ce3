"""The embedder process: vectors for chunks from the queue, and for queries before them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from opentelemetry.trace import Tracer

from contracts import subjects, topology
from contracts.chunks import ChunksReady
from contracts.retrieval import EmbedRequest
from services.embedder.embedding import Embedder
from services.embedder.handlers import EmbedderHandlers
from services.embedder.lanes import Lanes, usable_cores
from services.embedder.onnx_embedding import OnnxEmbedding
from services.embedder.settings import EmbedderSettings
from shared import models
from shared.addresses import host_of
from shared.errors import Misconfigured
from shared.service import Lifespan, Service
from shared.serving import run_service
from shared.settings import EmbeddingModel, load
from shared.tls import context_of

# A second core takes a fifth off the time of a query; what a third would take off has not been measured.
MOST_CORES_ALONE: Final = 2


def build_lifespan(settings: EmbedderSettings, embedder: Embedder | None = None) -> Lifespan:
    """Return the service's lifespan; tests bring an embedder of their own."""

    @asynccontextmanager
    async def lifespan(service: Service) -> AsyncIterator[None]:
        tracer = service.telemetry.tracer
        model = embedder if embedder is not None else await asyncio.to_thread(build_embedder, settings, tracer)
        next_model = await asyncio.to_thread(build_next_embedder, settings, tracer)
        handlers = EmbedderHandlers(model, service.publisher, next_model, service.metrics.batch("embedder"))

        async def describe() -> dict[str, Any]:
            upcoming = {"next_model": next_model.fingerprint} if next_model else {}
            place = {"host": host_of(settings.embedding_url)} if settings.embedding_url else {}
            told = {"model": model.fingerprint, "dimension": model.dimension, "lanes": settings.embedder_lanes}
            return {**told, **place, **upcoming}

        if settings.embedder_lanes != "interactive":
            service.consume(topology.EMBEDDER, ChunksReady, handlers.on_chunks_ready, workers=settings.embedder_workers)
        if settings.embedder_lanes != "bulk":
            service.respond(subjects.EMBED_QUERY, EmbedRequest, handlers.on_embed)
        service.health.checks["model"] = describe
        try:
            yield
        finally:
            await model.close()
            if next_model is not None:
                await next_model.close()

    return lifespan


def build_embedder(settings: EmbedderSettings, tracer: Tracer | None = None) -> Embedder:
    """Return the embedder that the settings ask for; a local model's files are verified first."""
    return _build(settings, settings.embedding, "embedding", tracer)


def build_next_embedder(settings: EmbedderSettings, tracer: Tracer | None = None) -> Embedder | None:
    """Return the embedder of the model to switch to, if there is one."""
    model = settings.next_embedding
    return _build(settings, model, "next_embedding", tracer) if model else None


def _build(settings: EmbedderSettings, model: EmbeddingModel, prefix: str, tracer: Tracer | None) -> Embedder:
    """Build the embedder of a model; `prefix` is how the names of its own settings begin."""
    trust = context_of(settings, f"{prefix}_tls", f"{prefix}_url")
    if model.url:
        # A library that takes longer to load than all the rest, for nothing where the model is here.
        from services.embedder.openai_embedding import OpenAIEmbedding, RemoteTLS

        return OpenAIEmbedding.connect(
            model,
            getattr(settings, f"{prefix}_api_key"),
            timeout_seconds=settings.embedding_timeout_seconds,
            tls=RemoteTLS(trust, f"RAG_{prefix}_TLS".upper()),
            tracer=tracer,
        )
    try:
        files = models.verify(model.name, settings.models_dir)
    except models.ModelError as error:
        raise Misconfigured(str(error)) from None
    return Lanes(
        OnnxEmbedding(files.onnx.parent, fingerprint=model.fingerprint, cores_alone=_cores_alone(settings)),
        bulk_threads=settings.embedder_threads or None,
        interactive_threads=settings.embedder_query_threads,
        bulk_niceness=settings.embedder_nice,
        max_waiting_slices=settings.embedder_max_waiting_slices,
        max_waiting_queries=settings.embedder_max_waiting_queries,
    )


def _cores_alone(settings: EmbedderSettings) -> int:
    """Return on how many cores a query is computed that is alone, where this process computes any."""
    if settings.embedder_lanes == "bulk":
        return 1
    return min(settings.embedder_query_threads, MOST_CORES_ALONE, usable_cores())


def main() -> None:
    """Run the embedder until a signal comes."""
    settings = load(EmbedderSettings)
    run_service("embedder", settings, build_lifespan(settings))


if __name__ == "__main__":
    main()
