"""Writes spans on a thread of its own, many at a time, and keeps the store within its bounds.

Nothing waits for it: what it has no room for is refused at the door, and what the database does not take in time makes
the queue full. Documents do not wait either, for it never shares their connection (nor on SQLite their file).
"""

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Final

from opentelemetry import context as otel_context
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from sqlalchemy import Engine

from services.persistence.database import is_outage
from services.persistence.tracing import span_store
from services.persistence.tracing.otlp import spans_in
from services.persistence.tracing.span import KeptSpan
from services.persistence.tracing.span_metrics import SpanMetrics
from shared.logs import get_logger

log = get_logger(__name__)

# Batches that come within this time are written together.
GATHER_SECONDS: Final = 0.2
TRANSACTION_SPANS: Final = 500
PRUNE_SECONDS: Final = 30.0
RETRY_SECONDS: Final = 1.0
JOIN_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept and how long; `queue_bytes` may wait to be written."""

    max_spans: int
    max_of_trace: int
    keep_seconds: float
    queue_bytes: int


class SpanWriter:
    """Takes messages from any thread until it is closed."""

    def __init__(self, engine: Engine, bounds: Bounds, metrics: SpanMetrics) -> None:
        self._engine, self._bounds, self._metrics = engine, bounds, metrics
        self._queue: deque[tuple[ExportTraceServiceRequest, int]] = deque()
        self._queued_bytes = 0
        self._room = 0
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="spans", daemon=True)
        self._thread.start()

    @property
    def is_full(self) -> bool:
        """Tell whether nothing more is taken at the moment."""
        return self._queued_bytes >= self._bounds.queue_bytes

    @property
    def is_busy(self) -> bool:
        """Tell whether something is queued that is not written yet."""
        return self._queued_bytes > 0

    def offer(self, message: ExportTraceServiceRequest, size: int) -> bool:
        """Queue a message of so many bytes; False when there is no room for it, or the writer is closed."""
        with self._changed:
            full = self._queue and self._queued_bytes + size > self._bounds.queue_bytes
            if full or self._closing.is_set():
                self._metrics.refused.add(1)
                return False
            self._queue.append((message, size))
            self._queued_bytes += size
            self._changed.notify()
        return True

    def close(self) -> None:
        """Write what is queued and end, within a bound."""
        self._closing.set()
        with self._changed:
            self._changed.notify()
        self._thread.join(JOIN_SECONDS)

    def _work(self) -> None:
        # Writing a span must not make one.
        otel_context.attach(otel_context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        pruned_at = -PRUNE_SECONDS
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing.is_set(), timeout=PRUNE_SECONDS)
            # Something nearly always follows: one transaction for all of it costs a fraction of one for each.
            self._closing.wait(GATHER_SECONDS)
            if not self._queue and self._closing.is_set():
                return
            self._write_queued()
            if time.monotonic() - pruned_at > PRUNE_SECONDS:
                self._prune()
                pruned_at = time.monotonic()

    def _write_queued(self) -> None:
        """Write all that is queued; room is made only afterwards, so that what is in work counts as well."""
        while messages := [self._queue.popleft() for _ in range(len(self._queue))]:
            kept = [span for message, _ in messages for span in self._spans_of(message)]
            for start in range(0, len(kept), TRANSACTION_SPANS):
                self._write(kept[start : start + TRANSACTION_SPANS])
            with self._changed:
                self._queued_bytes -= sum(size for _, size in messages)

    def _spans_of(self, message: ExportTraceServiceRequest) -> list[KeptSpan]:
        try:
            spans = list(spans_in(message))
        except Exception as error:  # The boundary: one message that nobody thought of must not end the thread.
            log.error("spans_not_read", exc_info=error)
            return []
        kept = [span for span in spans if span is not None]
        self._metrics.ignored.add(len(spans) - len(kept))
        return kept

    def _write(self, spans: list[KeptSpan]) -> None:
        """Store spans, as long as it takes while the database is away; at the end of the process they are lost."""
        while True:
            try:
                with self._engine.begin() as connection:
                    stored = span_store.add(connection, spans, time.time_ns(), self._bounds.max_of_trace)
            except Exception as error:  # The boundary: a thread that ends would make every later span refused.
                if not is_outage(error):
                    log.error("spans_not_written", spans=len(spans), exc_info=error)
                    self._metrics.lost.add(len(spans))
                    return
                log.warning("spans_wait", reason=type(error).__name__)
                if self._closing.wait(RETRY_SECONDS):
                    self._metrics.lost.add(len(spans))
                    return
            else:
                self._metrics.stored.add(stored)
                self._metrics.lost.add(len(spans) - stored)
                self._added(stored)
                return

    def _added(self, spans: int) -> None:
        """Prune before its time when much has come since the store was last counted."""
        self._room -= spans
        if self._room < 0:
            self._prune()

    def _prune(self) -> None:
        before_ns = time.time_ns() - int(self._bounds.keep_seconds * 1e9)
        try:
            with self._engine.begin() as connection:
                removed = span_store.remove_before(connection, before_ns)
            with self._engine.begin() as connection:
                removed += span_store.shrink(connection, self._bounds.max_spans)
                left = sum(group.spans for group in span_store.groups(connection))
        except Exception as error:  # The boundary: it is tried again.
            log.warning("spans_not_pruned", reason=error)
            return
        self._room = max(self._bounds.max_spans - left, 0)
        self._metrics.removed.add(removed)
        self._metrics.kept = left
