"""Work beside the messages: pruning, deletes of collections, and the comparison with the index."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from contracts import subjects
from contracts.reconciliation import ReconcileRequest
from services.persistence.audit_reads import highest_revision
from services.persistence.counting import count_forever
from services.persistence.events import DocumentEvent
from services.persistence.handlers import announce
from services.persistence.index_requests import IndexRequests
from services.persistence.key_handlers import serve_keys
from services.persistence.metrics import FigureGauges
from services.persistence.nats_ingest import NatsIngest
from services.persistence.nats_progress import NatsProgress
from services.persistence.nats_streams import NatsStreams
from services.persistence.pruning import prune_forever
from services.persistence.read_pool import ReadPool
from services.persistence.reconciliation import Reconciliation
from services.persistence.reconciling import Reconciling
from services.persistence.recording import key_of, record
from services.persistence.revision_guard import RevisionGuard
from services.persistence.settings import PersistenceSettings
from services.persistence.sweeping import Sweeping
from services.persistence.unfinished import UnfinishedDocuments
from services.persistence.unit_of_work import GroupCommit
from shared.metrics import ReconcileMetrics
from shared.service import Service


@asynccontextmanager
async def maintaining(
    service: Service, writer: GroupCommit, pool: ReadPool, streams: NatsStreams, settings: PersistenceSettings
) -> AsyncIterator[tuple[Sweeping, RevisionGuard]]:
    """Do the work until the block ends; yields what deletes collections, and what intake asks before it records."""
    index = IndexRequests(service.requester)
    sweeping = Sweeping(writer, pool, index.fences, partial(announce, service.publisher))
    reconciling = build_reconciling(service, writer, pool, index, settings)
    service.respond(subjects.RECONCILE, ReconcileRequest, reconciling.on_step, concurrency=1)
    service.health.checks["reconciliation"] = reconciling.check
    guard = RevisionGuard(
        NatsIngest(service.client),
        partial(pool.run, highest_revision),
        index.highest_above,
        stopping=lambda: service.health.waiting_for == "shutdown",
    )
    service.health.checks["revisions"] = guard.check
    gauges, keys = FigureGauges(service.telemetry.meter), serve_keys(service, writer, pool)
    works = [
        prune_forever(writer, pool, streams, settings),
        sweeping.run(),
        guard.watch(),
        count_forever(pool, gauges),
        keys.run(),
    ]
    if settings.persistence_reconcile_interval_seconds:
        works.append(reconciling.run())
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield sweeping, guard
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def build_reconciling(
    service: Service, writer: GroupCommit, pool: ReadPool, index: IndexRequests, settings: PersistenceSettings
) -> Reconciling:
    """Return what compares database and index."""

    async def happen(event: DocumentEvent) -> None:
        unit = partial(record, events=[event])
        await announce(service.publisher, await writer.run(key_of(event.tenant, event.document_id), unit))

    settle_seconds = settings.persistence_reconcile_settle_seconds
    progress = NatsProgress(service.client)
    quiet_seconds = settings.persistence_unfinished_after_seconds
    unfinished = UnfinishedDocuments(pool, progress, happen, settle_seconds=settle_seconds, quiet_seconds=quiet_seconds)
    steps = Reconciliation(pool, index, progress, happen, unfinished, settle_seconds=settle_seconds)
    return Reconciling(steps, writer, ReconcileMetrics(service.telemetry.meter), settings)
