"""The persistence service: the one source of truth for document state."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from contracts import subjects, topology
from contracts.dead_letters import DeadLetterListQuery, DeadLetterQuery, DiscardRequest, ReplayRequest
from contracts.reads import CollectionsQuery, DocumentListQuery, DocumentQuery, IdempotencyQuery, UsageQuery
from services.persistence.advisories import MaxDeliveries
from services.persistence.audit_handlers import serve_audit
from services.persistence.conversation_handlers import serve_conversations
from services.persistence.early_intake import EarlyIntake, early_intake
from services.persistence.handlers import MessageHandlers
from services.persistence.letter_handlers import RARE_WORKERS, LetterHandlers
from services.persistence.maintenance import maintaining
from services.persistence.metrics import LetterMetrics
from services.persistence.migrating import migrate
from services.persistence.nats_ingest import NatsIngest
from services.persistence.nats_streams import NatsStreams
from services.persistence.opening import open_measured, open_writer
from services.persistence.read_pool import ReadPool
from services.persistence.readers import ReadHandlers
from services.persistence.replaying import Replays
from services.persistence.revision_guard import RevisionGuard
from services.persistence.settings import PersistenceSettings
from services.persistence.sweeping import Sweeping
from services.persistence.tracing import keeping, receiving
from services.persistence.unit_of_work import GroupCommit
from shared.service import Lifespan, Service
from shared.serving import run_service
from shared.settings import load


def build_lifespan(settings: PersistenceSettings, receiver: receiving.SpanReceiver | None = None) -> Lifespan:
    """Return what opens the database, binds the handlers and closes everything in reverse."""

    @asynccontextmanager
    async def lifespan(service: Service) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            database = open_measured(service, settings)
            stack.callback(database.close)
            await asyncio.to_thread(migrate, database.writes, patience_seconds=settings.persistence_connect_seconds)
            pool = ReadPool(database.reads, threads=settings.persistence_read_threads)
            stack.callback(pool.close)
            writer = open_writer(database, service, settings)
            stack.push_async_callback(writer.close)
            streams = NatsStreams(service.client, service.publisher, service.uploads)
            sweeping, guard = await stack.enter_async_context(maintaining(service, writer, pool, streams, settings))
            intake = consume(service, writer, pool, streams, sweeping, guard, settings)
            await stack.enter_async_context(early_intake(service, intake, settings))
            answer(service, writer, pool, settings)
            answer_about_letters(service, writer, pool, streams, settings)
            await stack.enter_async_context(keeping.keeping_traces(service, receiver, settings))
            yield

    return lifespan


def consume(
    service: Service,
    writer: GroupCommit,
    pool: ReadPool,
    streams: NatsStreams,
    sweeping: Sweeping,
    guard: RevisionGuard,
    settings: PersistenceSettings,
) -> EarlyIntake:
    """Bind the consumers; return the intake, which also works past its own backlog."""
    handlers = MessageHandlers(writer, pool, service.publisher, service.requester, streams, sweeping, guard.admits)
    workers = settings.persistence_workers
    intake = EarlyIntake(handlers, service.telemetry.tracer)
    service.consume_raw(topology.INTAKE, intake.on_ingest, workers=workers)
    conversations, audit = serve_conversations(service, writer, pool, settings), serve_audit(service, writer, pool)
    on_fact = audit.facts(conversations.facts(handlers.on_fact))
    service.consume_raw(topology.PERSISTENCE, on_fact, workers=workers)
    on_dead_letter = LetterMetrics(service.telemetry.meter).counting(handlers.on_dead_letter)
    service.consume_raw(topology.DEAD_LETTERS, on_dead_letter, workers=RARE_WORKERS)
    service.consume(topology.ADVISORIES, MaxDeliveries, handlers.on_advisory, workers=RARE_WORKERS)
    return intake


def answer(service: Service, writer: GroupCommit, pool: ReadPool, settings: PersistenceSettings) -> None:
    """Bind the read requests."""
    readers = ReadHandlers(
        pool,
        writer,
        max_page_bytes=settings.persistence_max_page_bytes,
        keep_seconds=settings.idempotency_keep_seconds,
    )
    service.respond(subjects.READ_DOCUMENT, DocumentQuery, readers.on_document)
    service.respond(subjects.READ_DOCUMENTS, DocumentListQuery, readers.on_documents)
    service.respond(subjects.READ_COLLECTIONS, CollectionsQuery, readers.on_collections)
    service.respond(subjects.READ_IDEMPOTENCY, IdempotencyQuery, readers.on_idempotency)
    service.respond(subjects.READ_USAGE, UsageQuery, readers.on_usage)
    service.health.checks["database"] = readers.check_database


def answer_about_letters(
    service: Service, writer: GroupCommit, pool: ReadPool, streams: NatsStreams, settings: PersistenceSettings
) -> None:
    """Bind the requests about dead letters."""
    ingest = NatsIngest(service.client)
    replays = Replays(writer, pool, service.publisher, streams, ingest, service.telemetry.tracer)
    handlers = LetterHandlers(pool, streams, replays, max_page_bytes=settings.persistence_max_page_bytes)
    service.respond(subjects.READ_DEAD_LETTERS, DeadLetterListQuery, handlers.on_list)
    service.respond(subjects.READ_DEAD_LETTER, DeadLetterQuery, handlers.on_read, concurrency=RARE_WORKERS)
    service.respond(subjects.REPLAY_DEAD_LETTERS, ReplayRequest, handlers.on_replay, concurrency=RARE_WORKERS)
    service.respond(subjects.DISCARD_DEAD_LETTER, DiscardRequest, handlers.on_discard, concurrency=RARE_WORKERS)


def main() -> None:
    """Run the service until it is told to stop."""
    settings = load(PersistenceSettings)
    receiver = receiving.SpanReceiver(settings)
    run_service("persistence", settings, build_lifespan(settings, receiver), receiver.routes())


if __name__ == "__main__":
    main()
