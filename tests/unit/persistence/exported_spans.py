"""OTLP messages as exporters make them, for tests."""

import time
from collections.abc import Mapping
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from services.persistence.tracing.otlp import spans_in
from services.persistence.tracing.span import KeptSpan
from shared import semantics

MILLISECOND = 1_000_000
NOW = time.time_ns()


def attribute(name: str, value: Any) -> KeyValue:
    kind = {str: "string_value", bool: "bool_value", int: "int_value", float: "double_value"}[type(value)]
    return KeyValue(key=name, value=AnyValue(**{kind: value}))


def exported(
    trace: int,
    span: int,
    *,
    parent: int | None = None,
    tenant: str | None = "acme",
    name: str = "work",
    at_ms: int = 0,
    took_ms: int = 10,
    failed: bool = False,
    bulk: bool = False,
    attributes: Mapping[str, Any] | None = None,
) -> Span:
    """Return a span; `at_ms` is when it began, from the start of the tests."""
    start = NOW + at_ms * MILLISECOND
    texts = {
        **({semantics.TENANT: tenant} if tenant is not None else {}),
        **({semantics.DESTINATION: "rag.v1.ingest.{tenant}"} if bulk else {}),
        **(attributes or {}),
    }
    return Span(
        trace_id=trace.to_bytes(16, "big"),
        span_id=span.to_bytes(8, "big"),
        parent_span_id=b"" if parent is None else parent.to_bytes(8, "big"),
        name=name,
        kind=Span.SPAN_KIND_CONSUMER,
        start_time_unix_nano=start,
        end_time_unix_nano=start + took_ms * MILLISECOND,
        status=Status(code=Status.STATUS_CODE_ERROR if failed else Status.STATUS_CODE_UNSET),
        attributes=[attribute(key, value) for key, value in texts.items()],
    )


def message(*spans: Span, service: str = "parser") -> ExportTraceServiceRequest:
    resource = Resource(attributes=[attribute("service.name", service), attribute("service.instance.id", "one")])
    return ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(resource=resource, scope_spans=[ScopeSpans(spans=spans)])]
    )


def kept(*spans: Span, service: str = "parser") -> list[KeptSpan]:
    return [span for span in spans_in(message(*spans, service=service)) if span is not None]


def trace_id(trace: int) -> str:
    return trace.to_bytes(16, "big").hex()
