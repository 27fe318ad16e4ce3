"""OTLP messages read as spans to keep; whatever an exporter may send ends as a bounded number of bounded values."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from contracts import subjects
from services.persistence.tracing.span import KeptSpan
from shared import semantics
from shared.errors import InvalidMessage

MAX_NAME_CHARACTERS: Final = 200
MAX_VALUE_CHARACTERS: Final = 1_024
MAX_ATTRIBUTES: Final = 64
MAX_EVENTS: Final = 16
MAX_LINKS: Final = 32
MAX_ITEMS: Final = 16
MAX_BODY_BYTES: Final = 32 * 1024
# The year 2200: later times are no times, and dates know no year 10,000.
MAX_TIME_NS: Final = 7_258_118_400_000_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TRACE_BYTES: Final = 16
_SPAN_BYTES: Final = 8
_KINDS: Final = {
    Span.SPAN_KIND_SERVER: "server",
    Span.SPAN_KIND_CLIENT: "client",
    Span.SPAN_KIND_PRODUCER: "producer",
    Span.SPAN_KIND_CONSUMER: "consumer",
}
_STATUSES: Final = {Status.STATUS_CODE_OK: "ok", Status.STATUS_CODE_ERROR: "error"}


def parse(body: bytes) -> ExportTraceServiceRequest:
    """Return the message in a request's body; InvalidMessage when it is none."""
    try:
        return ExportTraceServiceRequest.FromString(body)
    except DecodeError:
        raise InvalidMessage("the body is no OTLP ExportTraceServiceRequest in protobuf", field="body") from None


def spans_in(request: ExportTraceServiceRequest) -> Iterator[KeptSpan | None]:
    """Yield the spans of a message; None for one that names no tenant, or has impossible ids or times."""
    for resource_spans in request.resource_spans:
        about = _texts(resource_spans.resource.attributes)
        service = _clip(about.get("service.name") or "unknown", MAX_NAME_CHARACTERS)
        instance = about.get("service.instance.id")
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield _kept(span, service, instance)


def _kept(span: Span, service: str, instance: str | None) -> KeptSpan | None:
    attributes = _attributes(span.attributes)
    tenant = attributes.pop(semantics.TENANT, None)
    if not isinstance(tenant, str) or not subjects.TENANT_PATTERN.match(tenant) or not _is_possible(span):
        return None
    failed = span.status.code == Status.STATUS_CODE_ERROR
    parent = span.parent_span_id.hex() if len(span.parent_span_id) == _SPAN_BYTES else None
    name = _clip(span.name, MAX_NAME_CHARACTERS)
    start, end = span.start_time_unix_nano, span.end_time_unix_nano
    view = {
        "span_id": span.span_id.hex(),
        "parent_span_id": parent,
        "name": name,
        "service": service,
        "instance": instance,
        "kind": _KINDS.get(span.kind, "internal"),
        "start": _time(start),
        "end": _time(end),
        "duration_ms": (end - start) / 1_000_000,
        "status": _STATUSES.get(span.status.code, "unset"),
    }
    body = _bounded(view, {"attributes": attributes, "events": _events(span.events), "links": _links(span.links)})
    return KeptSpan(
        trace_id=span.trace_id.hex(),
        tenant=tenant,
        span_id=span.span_id.hex(),
        parent_span_id=parent,
        name=name,
        service=service,
        start_ns=start,
        end_ns=end,
        failed=failed,
        bulk=attributes.get(semantics.DESTINATION) == subjects.INGEST_TEMPLATE,
        body=body,
    )


def _is_possible(span: Span) -> bool:
    """Ids of the right length that are not all zero, and times that a calendar knows, in order."""
    ids = len(span.trace_id) == _TRACE_BYTES and len(span.span_id) == _SPAN_BYTES
    times = 0 < span.start_time_unix_nano <= span.end_time_unix_nano < MAX_TIME_NS
    return ids and any(span.trace_id) and any(span.span_id) and times


def _bounded(view: dict[str, Any], details: dict[str, Any]) -> bytes:
    """Return the span as JSON; details that are too long together are left out."""
    body = orjson.dumps({**view, **details})
    if len(body) <= MAX_BODY_BYTES:
        return body
    return orjson.dumps({**view, "attributes": {"rag.span.truncated": len(body)}, "links": details["links"][:1]})


def _events(events: Iterable[Span.Event]) -> list[dict[str, Any]]:
    return [
        {
            "name": _clip(event.name, MAX_NAME_CHARACTERS),
            "time": _time(min(event.time_unix_nano, MAX_TIME_NS)),
            "attributes": _attributes(event.attributes),
        }
        for event in _first(events, MAX_EVENTS)
    ]


def _links(links: Iterable[Span.Link]) -> list[dict[str, Any]]:
    return [
        {"trace_id": link.trace_id.hex(), "span_id": link.span_id.hex(), "attributes": _attributes(link.attributes)}
        for link in _first(links, MAX_LINKS)
        if len(link.trace_id) == _TRACE_BYTES and len(link.span_id) == _SPAN_BYTES
    ]


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {_clip(pair.key, MAX_NAME_CHARACTERS): _value(pair.value) for pair in _first(pairs, MAX_ATTRIBUTES)}


def _texts(pairs: Iterable[KeyValue]) -> dict[str, str]:
    return {
        pair.key: _clip(pair.value.string_value, MAX_NAME_CHARACTERS)
        for pair in _first(pairs, MAX_ATTRIBUTES)
        if pair.value.HasField("string_value")
    }


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return _clip(value.string_value, MAX_VALUE_CHARACTERS)
    if kind in ("bool_value", "int_value", "double_value"):
        return getattr(value, kind)
    if kind == "array_value":
        # What is nested deeper is nothing that we emit, and nobody could read it in a terminal.
        return [_plain(item) for item in _first(value.array_value.values, MAX_ITEMS)]
    return _plain(value)


def _plain(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind in ("bool_value", "int_value", "double_value"):
        return getattr(value, kind)
    if kind == "string_value":
        return _clip(value.string_value, MAX_VALUE_CHARACTERS)
    return None if kind is None else f"({kind.removesuffix('_value')})"


def _first(items: Iterable[Any], at_most: int) -> Iterator[Any]:
    return (item for item, _ in zip(items, range(at_most), strict=False))


def _clip(text: str, characters: int) -> str:
    # PostgreSQL keeps no NUL.
    whole = text.replace("\x00", "")
    return whole if len(whole) <= characters else whole[: characters - 1] + "…"


def _time(nanoseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=nanoseconds // 1_000)
