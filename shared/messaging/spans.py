"""The spans of messages and requests, under OpenTelemetry's messaging names; a subject only ever as its template.

A message's span is the child of the one that sent it, also after hours in a queue. What waited there lies between the
attribute `rag.message.queued_at` and the span's start. A message that came without a trace has one all the same, which
all who consume it share.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Final

from opentelemetry.trace import Span, SpanKind, Tracer

from contracts import subjects
from shared import semantics
from shared.errors import InvalidMessage
from shared.logs import log_scope
from shared.messaging.delivery import Delivery
from shared.telemetry import span

_MAX_ID_CHARACTERS: Final = 300


def send_span(tracer: Tracer, template: str, tenant: str) -> AbstractContextManager[Span]:
    """Return the span of publishing a message, of the sender's trace."""
    attributes = _attributes("send", "send", template)
    return span(tracer, semantics.sent(template), SpanKind.PRODUCER, attributes=attributes, tenant=tenant or None)


@contextmanager
def process_span(tracer: Tracer, delivery: Delivery) -> Iterator[Span]:
    """Handle one delivery of a message in a span, the child of what its sender's headers name; log lines say which."""
    template = subjects.template_of(delivery.subject)
    attributes = {
        **_attributes("process", "process", template),
        semantics.CONSUMER_GROUP: delivery.consumer,
        semantics.DELIVERIES: delivery.deliveries,
        semantics.QUEUED_AT: _rfc3339(delivery.published_at),
    }
    if identity := delivery.headers.get(subjects.HEADER_MESSAGE_ID):
        attributes[semantics.MESSAGE_ID] = identity[:_MAX_ID_CHARACTERS]
    bound = {
        "consumer": delivery.consumer,
        "sequence": delivery.sequence,
        "correlation_id": delivery.correlation_id[:_MAX_ID_CHARACTERS],
    }
    with (
        span(
            tracer,
            semantics.processed(template),
            SpanKind.CONSUMER,
            headers=delivery.headers,
            attributes=attributes,
            tenant=_tenant_of(delivery),
            origin=_origin_of(delivery),
        ) as current,
        log_scope(**bound),
    ):
        yield current


def request_span(tracer: Tracer, subject: str) -> AbstractContextManager[Span]:
    """Return the span of asking another service and waiting for its reply."""
    template = subjects.template_of(subject)
    return span(
        tracer, semantics.requested(template), SpanKind.CLIENT, attributes=_attributes("request", "send", template)
    )


def respond_span(
    tracer: Tracer, subject: str, headers: Mapping[str, str], received_at: float
) -> AbstractContextManager[Span]:
    """Return the span of answering a request that reached this process at `received_at` (unix seconds)."""
    template = subjects.template_of(subject)
    attributes = {**_attributes("respond", "process", template), semantics.QUEUED_AT: _rfc3339(received_at)}
    tenant = headers.get(subjects.HEADER_TENANT, "")
    return span(
        tracer,
        semantics.responded(template),
        SpanKind.SERVER,
        headers=headers,
        attributes=attributes,
        tenant=tenant if subjects.TENANT_PATTERN.match(tenant) else None,
    )


def _attributes(name: str, kind: str, template: str) -> dict[str, str | int]:
    return {
        semantics.MESSAGING_SYSTEM: "nats",
        semantics.MESSAGING_OPERATION: name,
        semantics.MESSAGING_OPERATION_TYPE: kind,
        semantics.DESTINATION: template,
    }


def _tenant_of(delivery: Delivery) -> str | None:
    try:
        return delivery.tenant
    except InvalidMessage:
        return None


def _origin_of(delivery: Delivery) -> str:
    # A stream that was made anew counts from one again; fractions of a second are not told alike everywhere.
    return f"{delivery.stream} {delivery.sequence} {int(delivery.published_at)}"


def _rfc3339(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds")
