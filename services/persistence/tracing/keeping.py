"""The span store from its opening to its close."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

from contracts import subjects
from contracts.traces import TraceListQuery, TracePage, TraceQuery, TraceView
from services.persistence.database import open_trace_database
from services.persistence.migrating import SPAN_MIGRATIONS, migrate
from services.persistence.read_pool import ReadPool
from services.persistence.settings import PersistenceSettings
from services.persistence.tracing import trace_reads
from services.persistence.tracing.receiving import SpanReceiver
from services.persistence.tracing.span_metrics import SpanMetrics
from services.persistence.tracing.span_writer import Bounds, SpanWriter
from shared.service import Service

READ_CONCURRENCY: Final = 4


class TraceHandlers:
    """One method per request; `max_page_bytes` bounds what is shown of a trace."""

    def __init__(self, pool: ReadPool, *, max_page_bytes: int) -> None:
        self._pool, self._max_page_bytes = pool, max_page_bytes

    async def on_trace(self, query: TraceQuery, _deadline: float | None) -> TraceView:
        """Return one trace."""
        return await self._pool.run(partial(trace_reads.trace, query=query, max_bytes=self._max_page_bytes))

    async def on_traces(self, query: TraceListQuery, _deadline: float | None) -> TracePage:
        """Return a page of traces."""
        return await self._pool.run(partial(trace_reads.traces, query=query))


@asynccontextmanager
async def keeping_traces(
    service: Service, receiver: SpanReceiver | None, settings: PersistenceSettings
) -> AsyncIterator[None]:
    """Take spans and answer about traces until the block ends."""
    async with AsyncExitStack() as stack:
        database = open_trace_database(settings)
        stack.callback(database.close)
        await asyncio.to_thread(
            migrate, database.writes, SPAN_MIGRATIONS, patience_seconds=settings.persistence_connect_seconds
        )
        bounds = Bounds(
            max_spans=settings.persistence_spans_max,
            max_of_trace=settings.persistence_spans_max_of_trace,
            keep_seconds=settings.persistence_spans_keep_seconds,
            queue_bytes=settings.persistence_spans_queue_bytes,
        )
        writer = SpanWriter(database.writes, bounds, SpanMetrics(service.telemetry.meter))
        stack.push_async_callback(asyncio.to_thread, writer.close)
        if receiver is not None:
            stack.enter_context(receiver.receiving_for(writer))
        pool = ReadPool(database.reads, threads=1)
        stack.callback(pool.close)
        handlers = TraceHandlers(pool, max_page_bytes=settings.persistence_max_page_bytes)
        service.respond(subjects.READ_TRACE, TraceQuery, handlers.on_trace, concurrency=READ_CONCURRENCY)
        service.respond(subjects.READ_TRACES, TraceListQuery, handlers.on_traces, concurrency=READ_CONCURRENCY)
        yield
