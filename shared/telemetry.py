"""Traces and metrics: one tracer and one meter per process, W3C context on every hop."""

import re
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, DEFAULT_ON, ParentBased, Sampler
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.settings import PlatformSettings
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

    def shutdown(self) -> None:
        """Send what is still buffered; called last."""
        self.tracer_provider.shutdown()
        self.meter_provider.shutdown()


def configure_telemetry(settings: PlatformSettings, service: str) -> Telemetry:
    """Set up tracing (exported when an OTLP endpoint is set) and metrics (read from `/metrics`)."""
    resource = Resource.create(
        {"service.name": service, "service.instance.id": settings.instance, "service.version": VERSION}
    )
    tracer_provider = TracerProvider(resource=resource, sampler=_sampler(settings))
    if settings.otlp_endpoint:
        exporter = OTLPSpanExporter(endpoint=f"{settings.otlp_endpoint.rstrip('/')}/v1/traces")
        tracer_provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=settings.otlp_queue_spans))
    meter_provider = MeterProvider(metric_readers=[PrometheusMetricReader()], resource=resource)
    return Telemetry(
        tracer=tracer_provider.get_tracer("rag"),
        meter=meter_provider.get_meter("rag"),
        tracer_provider=tracer_provider,
        meter_provider=meter_provider,
    )


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
) -> Iterator[Span]:
    """Run a block inside a span, the child of what `headers` carry (else of the current span).

    With `links` it begins a trace of its own, which points at where it comes from.
    """
    parent = _PROPAGATOR.extract({key.lower(): value for key, value in headers.items()}) if headers else None
    if links is not None:
        parent = otel_context.Context()
    current = tracer.start_span(name, context=parent, kind=kind, attributes=dict(attributes or {}), links=links)
    token = otel_context.attach(trace.set_span_in_context(current, parent))
    try:
        yield current
    except Exception as error:
        current.set_status(Status(StatusCode.ERROR, type(error).__name__))
        current.set_attribute("error.type", type(error).__name__)
        raise
    finally:
        # Both in a finally: a context left attached would become the parent of unrelated work.
        otel_context.detach(token)
        current.end()


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
        started.set_status(Status(StatusCode.ERROR, type(error).__name__))
        started.set_attribute("error.type", type(error).__name__)
        raise
    finally:
        started.end()


def links_to(*traceparents: str | None) -> list[Link]:
    """Return links to the spans that W3C trace headers name, and to the current one; what names none is left out."""
    contexts = [_PROPAGATOR.extract({"traceparent": text}, otel_context.Context()) for text in traceparents if text]
    spans = [trace.get_current_span(context).get_span_context() for context in contexts]
    return [Link(one) for one in (*spans, trace.get_current_span().get_span_context()) if one.is_valid]


def current_trace_id() -> str:
    """Return the trace id of the current span as 32 hex digits (zeros outside any span)."""
    return format(trace.get_current_span().get_span_context().trace_id, "032x")


def trace_id_in(traceparent: str | None) -> str | None:
    """Return the trace id in a W3C `traceparent`, None when there is none."""
    found = _TRACEPARENT.match(traceparent or "")
    return found.group(1) if found else None


def _sampler(settings: PlatformSettings) -> Sampler:
    # Without an exporter a span would be built for nobody; its ids are still made and passed on.
    return ParentBased(DEFAULT_ON) if settings.otlp_endpoint else ALWAYS_OFF
