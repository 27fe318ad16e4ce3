"""Traces as they are kept for looking at them on this machine."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from contracts.messages import Message

TraceId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
SpanKindName = Literal["internal", "server", "client", "producer", "consumer"]
SpanStatus = Literal["unset", "ok", "error"]


class SpanEvent(Message):
    """Something that happened within a span."""

    name: str
    time: datetime
    attributes: dict[str, Any] = Field(default_factory=dict)


class SpanLink(Message):
    """A span of another trace that this one has to do with, as a replay with the work that failed."""

    trace_id: str
    span_id: str
    attributes: dict[str, Any] = Field(default_factory=dict)


class TraceSpan(Message):
    """One step of a trace; `instance` is the replica that took it."""

    span_id: str
    parent_span_id: str | None = None
    name: str
    service: str
    instance: str | None = None
    kind: SpanKindName = "internal"
    start: datetime
    end: datetime
    duration_ms: float
    status: SpanStatus = "unset"
    attributes: dict[str, Any] = Field(default_factory=dict)
    events: list[SpanEvent] = Field(default_factory=list)
    links: list[SpanLink] = Field(default_factory=list)


class TraceQuery(Message):
    """Ask for one trace of a tenant."""

    tenant: str
    trace_id: TraceId


class TraceView(Message):
    """The spans of a trace, by start.

    `complete` is false while spans still come in, or when a parent is missing. With `truncated` the reply holds the
    first of `span_count` spans only; `dropped` were too many to be kept.
    """

    trace_id: str
    spans: list[TraceSpan]
    span_count: int
    complete: bool = True
    truncated: bool = False
    dropped: int = 0


class TraceListQuery(Message):
    """Ask for a page of traces, newest first: those a service took part in, that took so long, that failed."""

    tenant: str
    service: str | None = Field(default=None, max_length=100)
    min_ms: float | None = Field(default=None, ge=0)
    error: bool | None = None
    limit: int = Field(default=50, ge=1, le=500)
    cursor: str | None = None


class TraceSummary(Message):
    """A trace in a list; name and service are those of its first span, `services` all that took part."""

    trace_id: str
    name: str
    service: str
    services: list[str]
    start: datetime
    duration_ms: float
    spans: int
    error: bool


class TracePage(Message):
    """A page of traces; `next_cursor` is null on the last page."""

    items: list[TraceSummary]
    next_cursor: str | None = None
