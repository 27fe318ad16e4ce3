"""The parser process: documents in, chunks out, every document read by a confined child process."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from contracts import topology
from contracts.chunks import MAX_CHUNKS_PER_BATCH
from contracts.documents import IngestMessage
from services.parser.admission import Admission
from services.parser.chunking import ChunkingLimits
from services.parser.errors import SandboxUnavailable
from services.parser.fairness import fair_lane, fair_turns
from services.parser.handlers import ParserHandlers
from services.parser.jobs import JobLimits
from services.parser.parsing import DocumentParser
from services.parser.payloads import build_payloads
from services.parser.recorded import Recorded
from services.parser.sandbox import Sandbox, SandboxOptions
from services.parser.settings import ParserSettings
from shared import models
from shared.errors import Misconfigured, Unavailable
from shared.messaging.early_work import EarlyWork
from shared.messaging.usage import UsageReader
from shared.metrics import FairnessMetrics
from shared.service import Lifespan, Service
from shared.serving import run_service
from shared.settings import MIB, load


def build_lifespan(settings: ParserSettings) -> Lifespan:
    """Return the service's lifespan."""

    @asynccontextmanager
    async def lifespan(service: Service) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            sandbox = await start_sandbox(settings)
            stack.push_async_callback(sandbox.close)
            payloads = build_payloads(service, settings)
            metrics, early = FairnessMetrics(service.telemetry.meter), EarlyWork()
            turns = await stack.enter_async_context(fair_turns(service, settings, metrics))
            parser = DocumentParser(
                sandbox,
                payloads,
                Recorded(service.requester),
                service.publisher,
                turns,
                build_admission(service, settings),
                job_limits(settings, service.client.max_payload),
                backpressure_seconds=settings.parser_backpressure_seconds,
            )
            handlers = ParserHandlers(parser, payloads, early, service.telemetry.tracer, metrics)
            service.health.checks["sandbox"] = partial(describe, sandbox)
            service.consume(topology.PARSER, IngestMessage, handlers.on_ingest, workers=settings.parser_workers)
            await stack.enter_async_context(fair_lane(service, settings, metrics, handlers, turns, early))
            yield

    return lifespan


def build_admission(service: Service, settings: ParserSettings) -> Admission:
    """Return what keeps tenants within their quotas."""
    reader = UsageReader(service.client, service.requester, timeout_seconds=settings.quota_settle_seconds)
    return Admission(reader, settings, service.telemetry.meter)


async def describe(sandbox: Sandbox) -> dict[str, Any]:
    """Return what health tells of the child processes."""
    return {"isolation": sandbox.isolation}


async def start_sandbox(settings: ParserSettings) -> Sandbox:
    """Start the child processes; Misconfigured without the tokenizer that chunks are measured with."""
    try:
        tokenizer = models.verify_tokenizer(settings.parser_tokenizer, settings.models_dir)
    except models.ModelError as error:
        raise Misconfigured(str(error)) from None
    limits = ChunkingLimits(
        chunk_tokens=settings.parser_chunk_tokens,
        overlap_tokens=settings.parser_overlap_tokens,
        prefix_tokens=settings.parser_prefix_tokens,
    )
    options = SandboxOptions(
        chunking=limits,
        size=settings.parser_workers + settings.parser_early_documents,
        later=settings.parser_early_documents,
        max_jobs_per_child=settings.parser_child_documents,
    )
    sandbox = Sandbox(tokenizer, options)
    try:
        await sandbox.start()
    except SandboxUnavailable as error:
        raise Unavailable(str(error)) from None
    return sandbox


def job_limits(settings: ParserSettings, max_payload_bytes: int) -> JobLimits:
    """Return what one document may cost; a batch with its vectors stays under half of the broker's limit."""
    next_model = settings.next_embedding
    vector_bytes = (settings.embedding_dimension + (next_model.dimension if next_model else 0)) * 4
    chunks = max(1, min(MAX_CHUNKS_PER_BATCH, max_payload_bytes // 4 // vector_bytes))
    return JobLimits(
        wall_seconds=settings.parser_wall_seconds,
        cpu_seconds=settings.parser_cpu_seconds,
        memory_bytes=settings.parser_memory_bytes,
        output_bytes=settings.parser_max_text_bytes,
        batch_chunks=chunks,
        batch_bytes=max(MIB // 64, max_payload_bytes // 2 - chunks * vector_bytes - max_payload_bytes // 8),
    )


def main() -> None:
    """Run the parser until a signal comes."""
    settings = load(ParserSettings)
    run_service("parser", settings, build_lifespan(settings))


if __name__ == "__main__":
    main()
