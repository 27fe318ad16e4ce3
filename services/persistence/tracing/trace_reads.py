"""Traces as they are shown; every query names its tenant."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Select, select

from contracts.traces import TraceListQuery, TracePage, TraceQuery, TraceSpan, TraceSummary, TraceView
from services.persistence.cursor import read_cursor, write_cursor
from services.persistence.tracing.models import SPANS, TRACES
from services.persistence.tracing.span import TraceRecord, join_services, split_services
from services.persistence.tracing.span_store import record_of
from shared.errors import NotFound, Rejected

# Spans travel in batches, each service its own: for so long after some came, others of the trace may be on their way.
SETTLE_SECONDS: Final = 2.0
MAX_SHOWN_SPANS: Final = 5_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TRACE: Final = TRACES.c
_NANOSECONDS: Final = 1_000_000_000


def trace(connection: Connection, query: TraceQuery, max_bytes: int) -> TraceView:
    """Return a tenant's trace, as much of its beginning as fits; NotFound (`trace_not_found`) without one."""
    of_tenant = (_TRACE.trace_id == query.trace_id) & (_TRACE.tenant == query.tenant)
    row = connection.execute(select(TRACES).where(of_tenant)).first()
    if row is None:
        raise NotFound(
            f"there is no trace {query.trace_id}; spans arrive about a second after their work, "
            "and the oldest are removed when the store is full",
            code="trace_not_found",
            field="trace_id",
        )
    record = record_of(row)
    spans = _spans(connection, query, max_bytes)
    truncated = len(spans) < record.spans
    return TraceView(
        trace_id=record.trace_id,
        spans=spans,
        span_count=max(record.spans, len(spans)),
        complete=not truncated and not record.dropped and _is_settled(record) and _is_connected(spans),
        truncated=truncated,
        dropped=record.dropped,
    )


def traces(connection: Connection, query: TraceListQuery) -> TracePage:
    """Return a page of a tenant's traces, newest first."""
    rows = [record_of(row) for row in connection.execute(_list_statement(query))]
    items = rows[: query.limit]
    more = len(rows) > len(items)
    return TracePage(items=[_summary(record) for record in items], next_cursor=_cursor(items[-1]) if more else None)


def _spans(connection: Connection, query: TraceQuery, max_bytes: int) -> list[TraceSpan]:
    of_trace = (SPANS.c.trace_id == query.trace_id) & (SPANS.c.tenant == query.tenant)
    statement = select(SPANS.c.body).where(of_trace).order_by(SPANS.c.start_ns, SPANS.c.span_id).limit(MAX_SHOWN_SPANS)
    found: list[TraceSpan] = []
    size = 0
    for (body,) in connection.execute(statement):
        size += len(body)
        if found and size > max_bytes:
            break
        found.append(TraceSpan.model_validate_json(body))
    return found


def _is_settled(record: TraceRecord) -> bool:
    return time.time_ns() - record.received_ns > SETTLE_SECONDS * _NANOSECONDS


def _is_connected(spans: list[TraceSpan]) -> bool:
    """Tell whether every parent is there; that of the first span may be the caller's own."""
    known = {span.span_id for span in spans}
    outside = {span.parent_span_id for span in spans[:1]}
    return all(span.parent_span_id in known | outside | {None} for span in spans)


def _list_statement(query: TraceListQuery) -> Select[Any]:
    statement = select(TRACES).where(_TRACE.tenant == query.tenant)
    if query.service is not None:
        statement = statement.where(_TRACE.services.contains(join_services([query.service]), autoescape=True))
    if query.min_ms is not None:
        statement = statement.where(_TRACE.duration_ns >= int(min(query.min_ms * 1_000_000, 2**62)))
    if query.error is not None:
        statement = statement.where(_TRACE.failed == query.error)
    if query.cursor is not None:
        start_ns, trace_id = _place(query.cursor)
        older = (_TRACE.start_ns == start_ns) & (_TRACE.trace_id < trace_id)
        statement = statement.where((_TRACE.start_ns < start_ns) | older)
    # One more than asked for tells whether there is another page.
    return statement.order_by(_TRACE.start_ns.desc(), _TRACE.trace_id.desc()).limit(query.limit + 1)


def _cursor(record: TraceRecord) -> str:
    return write_cursor(f"{record.start_ns}:{record.trace_id}")


def _place(cursor: str) -> tuple[int, str]:
    start, _, trace_id = read_cursor(cursor).partition(":")
    if not (start.isascii() and start.isdigit() and len(start) <= 19 and trace_id):
        raise Rejected(
            "cursor is not one that this API returned; start again without it", code="invalid_cursor", field="cursor"
        )
    return min(int(start), 2**62), trace_id


def _summary(record: TraceRecord) -> TraceSummary:
    return TraceSummary(
        trace_id=record.trace_id,
        name=record.name,
        service=record.service,
        services=split_services(record.services),
        start=_EPOCH + timedelta(microseconds=record.start_ns // 1_000),
        duration_ms=record.duration_ns / 1_000_000,
        spans=record.spans,
        error=record.failed,
    )
