"""Traces and metrics: one tracer and one meter per process, W3C context on every hop."""

import re
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span as RecordedSpan
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared import semantics
from shared.errors import Rejected
from shared.exposition import ExemplarReader
from shared.settings import PlatformSettings
from shared.span_export import SpanExport
from shared.telemetry_context import TENANT, current_tenant
from shared.trace_ids import TraceIds, agreed
from shared.version import VERSION

_PROPAGATOR = TraceContextTextMapPropagator()
_TRACEPARENT = re.compile(r"^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$")


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What a service needs to record spans and metrics."""

    tracer: Tracer
    meter: Meter
    tracer_provider: TracerProvider
    meter_provider: MeterProvider
    span_export: SpanExport | None = None

    def flush(self) -> None:
        """Send the spans that are buffered, at the end of the work; returns when that is done, or has failed."""
        self._close_soon()
        self.tracer_provider.force_flush()

    def shutdown(self) -> None:
        """Send what is still buffered; called last."""
        self._close_soon()
        self.tracer_provider.shutdown()
        self.meter_provider.shutdown()

    def _close_soon(self) -> None:
        if self.span_export is not None:
            self.span_export.close_soon()


def configure_telemetry(settings: PlatformSettings, service: str) -> Telemetry:
    """Set up tracing (exported when an OTLP endpoint is set) and metrics (read from `/metrics`)."""
    resource = Resource.create(
        {"service.name": service, "service.instance.id": settings.instance, "service.version": VERSION}
    )
    tracer_provider = TracerProvider(resource=resource, sampler=_sampler(settings), id_generator=TraceIds())
    meter_provider = MeterProvider(metric_readers=[ExemplarReader()] if settings.metrics else [], resource=resource)
    meter = meter_provider.get_meter("rag")
    span_export = None
    if settings.otlp_endpoint:
        span_export = SpanExport(settings, meter)
        tracer_provider.add_span_processor(TenantOfSpans())
        tracer_provider.add_span_processor(span_export.processor)
    return Telemetry(
        tracer=tracer_provider.get_tracer("rag"),
        meter=meter,
        span_export=span_export,
        tracer_provider=tracer_provider,
        meter_provider=meter_provider,
    )


class TenantOfSpans(SpanProcessor):
    """Marks every span, also one of a library, with the tenant whose work it is."""

    def on_start(self, span: RecordedSpan, parent_context: otel_context.Context | None = None) -> None:
        """Take the tenant over from the context that the span starts in."""
        tenant = otel_context.get_value(TENANT, parent_context)
        if isinstance(tenant, str):
            span.set_attribute(semantics.TENANT, tenant)


def bind_tenant(tenant: str) -> None:
    """Say whose work the rest of this task is, and the span that is current now."""
    otel_context.attach(otel_context.set_value(TENANT, tenant))
    trace.get_current_span().set_attribute(semantics.TENANT, tenant)


def inject_context(headers: MutableMapping[str, str]) -> None:
    """Write the current trace context into message or HTTP headers."""
    _PROPAGATOR.inject(headers)


@contextmanager
def span(
    tracer: Tracer,
    name: str,
    kind: SpanKind = SpanKind.INTERNAL,
    *,
    headers: Mapping[str, str] | None = None,
    attributes: Mapping[str, Any] | None = None,
    links: Sequence[Link] | None = None,
    tenant: str | None = None,
    origin: str | None = None,
) -> Iterator[Span]:
    """Run a block inside a span, the child of what `headers` carry (else of the current span).

    With `links` it begins a trace of its own, which points at where it comes from. `tenant` is whose work it is, else
    that of the current context. Where headers carry no trace, spans of the same `origin` share one, in any process.
    """
    parent = (
        _PROPAGATOR.extract({key.lower(): value for key, value in headers.items()}) if headers is not None else None
    )
    if links is not None:
        parent = otel_context.Context()
    # What comes from outside is not the work of whoever happened to be served when its reader was started.
    if whose := tenant or (current_tenant() if headers is None else None):
        parent = otel_context.set_value(TENANT, whose, parent)
    with agreed(origin):
        current = tracer.start_span(name, context=parent, kind=kind, attributes=dict(attributes or {}), links=links)
    token = otel_context.attach(trace.set_span_in_context(current, parent))
    try:
        yield current
    except Exception as error:
        mark_failed(current, error)
        raise
    finally:
        # Both in a finally: a context left attached would become the parent of unrelated work.
        otel_context.detach(token)
        current.end()


@contextmanager
def unrecorded_span() -> Iterator[Span]:
    """Run a block under a trace id of its own of which nothing is recorded, here and in whatever it causes."""
    ids = RandomIdGenerator()
    context = trace.SpanContext(ids.generate_trace_id(), ids.generate_span_id(), is_remote=False)
    current = trace.NonRecordingSpan(context)
    with trace.use_span(current):
        yield current


@contextmanager
def detached_span(
    tracer: Tracer, name: str, kind: SpanKind = SpanKind.INTERNAL, *, attributes: Mapping[str, Any] | None = None
) -> Iterator[Span]:
    """Run a block of an asynchronous generator inside a span that is never the current one.

    Such a block is left and entered again in whatever context its reader has, so nothing may stay attached to it.
    """
    started = tracer.start_span(name, kind=kind, attributes=dict(attributes or {}))
    try:
        yield started
    except Exception as error:
        mark_failed(started, error)
        raise
    finally:
        started.end()


def mark_failed(current: Span, error: Exception) -> None:
    """Say what ended a span; that a caller asked for what is not there, or may not be, is no failure of the step."""
    current.set_attribute(semantics.ERROR_TYPE, type(error).__name__)
    if not isinstance(error, Rejected):
        current.set_status(Status(StatusCode.ERROR, type(error).__name__))


def links_to(*traceparents: str | None) -> list[Link]:
    """Return links to the spans that W3C trace headers name, and to the current one; what names none is left out."""
    contexts = [_PROPAGATOR.extract({"traceparent": text}, otel_context.Context()) for text in traceparents if text]
    spans = [trace.get_current_span(context).get_span_context() for context in contexts]
    return [Link(one) for one in (*spans, trace.get_current_span().get_span_context()) if one.is_valid]


def is_recorded() -> bool:
    """Tell whether anybody will see the current span."""
    return trace.get_current_span().is_recording()


def current_trace_id() -> str:
    """Return the trace id of the current span as 32 hex digits (zeros outside any span)."""
    return format(trace.get_current_span().get_span_context().trace_id, "032x")


def trace_id_in(traceparent: str | None) -> str | None:
    """Return the trace id in a W3C `traceparent`, None when there is none."""
    found = _TRACEPARENT.match(traceparent or "")
    return found.group(1) if found else None


def _sampler(settings: PlatformSettings) -> Sampler:
    # Without an exporter a span would be built for nobody; its ids are still made and passed on.
    return ParentBased(TraceIdRatioBased(settings.trace_ratio)) if settings.otlp_endpoint else ALWAYS_OFF
