"""Spans and the traces that they belong to."""

from contextvars import copy_context

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Tracer

from shared import semantics
from shared.errors import NotFound, Unavailable
from shared.messaging.delivery import Delivery
from shared.messaging.spans import process_span, respond_span
from shared.settings import PlatformSettings
from shared.telemetry import (
    TenantOfSpans,
    bind_tenant,
    configure_telemetry,
    current_trace_id,
    links_to,
    span,
    unrecorded_span,
)
from shared.trace_ids import TraceIds

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def recorded() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(recorded: InMemorySpanExporter) -> Tracer:
    provider = TracerProvider(id_generator=TraceIds())
    provider.add_span_processor(TenantOfSpans())
    provider.add_span_processor(SimpleSpanProcessor(recorded))
    return provider.get_tracer("test")


def test_a_span_with_links_begins_a_trace_that_points_at_where_it_comes_from(
    tracer: Tracer, recorded: InMemorySpanExporter
) -> None:
    with span(tracer, "request"):
        request = current_trace_id()
        with span(tracer, "replay", links=links_to(PARENT)):
            replay = current_trace_id()
            with span(tracer, "send"):
                assert current_trace_id() == replay
        assert current_trace_id() == request
    [found] = [one for one in recorded.get_finished_spans() if one.name == "replay"]
    assert replay != request
    assert found.parent is None
    assert [format(link.context.trace_id, "032x") for link in found.links] == [PARENT[3:35], request]


@pytest.mark.parametrize("traceparent", [None, "", "kept", "00-" + "0" * 32 + "-" + "0" * 16 + "-00"])
def test_a_trace_header_that_names_no_span_is_no_link(traceparent: str | None) -> None:
    assert links_to(traceparent) == []


def tenants(recorded: InMemorySpanExporter) -> dict[str, object]:
    return {one.name: (one.attributes or {}).get(semantics.TENANT) for one in recorded.get_finished_spans()}


def test_a_span_and_those_below_it_know_whose_work_they_are(tracer: Tracer, recorded: InMemorySpanExporter) -> None:
    def request() -> None:
        with span(tracer, "request", headers={}):
            bind_tenant("acme")
            with span(tracer, "below"), tracer.start_as_current_span("of a library"):
                pass
            with span(tracer, "replay", links=links_to(PARENT)):
                pass

    copy_context().run(request)
    with span(tracer, "of nobody"):
        pass
    assert tenants(recorded) == {
        "of a library": "acme",
        "below": "acme",
        "replay": "acme",
        "request": "acme",
        "of nobody": None,
    }


def test_the_tenant_of_a_message_is_what_its_subject_says(tracer: Tracer, recorded: InMemorySpanExporter) -> None:
    """INVARIANT: a tenant comes from the subject. A producer's header must not put spans among another's."""
    delivery = Delivery("rag.v1.ingest.acme", {"Rag-Tenant": "other"}, "INGEST", "parser", 7, 2, 1_700_000_000.5, b"")
    with process_span(tracer, delivery), span(tracer, "below"):
        pass
    [found] = [one for one in recorded.get_finished_spans() if one.name == "process rag.v1.ingest.{tenant}"]
    assert tenants(recorded) == {"below": "acme", "process rag.v1.ingest.{tenant}": "acme"}
    assert dict(found.attributes or {}) == {
        semantics.TENANT: "acme",
        "messaging.system": "nats",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.template": "rag.v1.ingest.{tenant}",
        "messaging.consumer.group.name": "parser",
        "rag.message.deliveries": 2,
        "rag.message.queued_at": "2023-11-14T22:13:20.500000+00:00",
    }


def test_who_consumes_a_message_that_came_without_a_trace_shares_one(
    tracer: Tracer, recorded: InMemorySpanExporter
) -> None:
    def consume(consumer: str, sequence: int, headers: dict[str, str]) -> str:
        delivery = Delivery("rag.v1.ingest.acme", headers, "INGEST", consumer, sequence, 1, 1_700_000_000.5, b"")
        with process_span(tracer, delivery):
            return current_trace_id()

    traces = [consume(consumer, sequence, {}) for sequence in (7, 8) for consumer in ("parser", "intake")]
    assert traces[0] == traces[1] != traces[2] == traces[3]
    assert consume("parser", 7, {"traceparent": PARENT}) == PARENT[3:35]
    assert [one.parent for one in recorded.get_finished_spans()[:4]] == [None] * 4
    with span(tracer, "of nobody"):
        assert current_trace_id() not in traces


def test_a_request_is_the_work_of_whom_its_header_names_not_of_who_was_served_before(
    tracer: Tracer, recorded: InMemorySpanExporter
) -> None:
    def respond() -> None:
        bind_tenant("before")
        with respond_span(tracer, "rag.v1.retrieve", {"Rag-Tenant": "acme", "traceparent": PARENT}, 0.0):
            pass
        with respond_span(tracer, "rag.v1.embed.query", {"Rag-Tenant": "no tenant!"}, 0.0):
            pass

    copy_context().run(respond)
    assert tenants(recorded) == {"respond rag.v1.retrieve": "acme", "respond rag.v1.embed.query": None}


@pytest.mark.parametrize(("error", "status"), [(NotFound("x"), "UNSET"), (Unavailable("x"), "ERROR")])
def test_that_something_is_not_there_is_no_failure(
    tracer: Tracer, recorded: InMemorySpanExporter, error: Exception, status: str
) -> None:
    with pytest.raises(type(error)), span(tracer, "look"):
        raise error
    [found] = recorded.get_finished_spans()
    assert (found.status.status_code.name, (found.attributes or {})["error.type"]) == (status, type(error).__name__)


def test_an_unrecorded_span_has_an_id_and_nothing_below_it_is_recorded(
    tracer: Tracer, recorded: InMemorySpanExporter
) -> None:
    with unrecorded_span(), span(tracer, "below"):
        assert int(current_trace_id(), 16) != 0
    assert recorded.get_finished_spans() == ()


@pytest.mark.parametrize(("ratio", "least", "most"), [(0.0, 0, 0), (0.25, 150, 350), (1.0, 1_000, 1_000)])
def test_the_ratio_decides_about_traces_that_begin_here_and_a_caller_about_his_own(
    ratio: float, least: int, most: int
) -> None:
    settings = PlatformSettings(otlp_endpoint="http://127.0.0.1:9", trace_ratio=ratio, otlp_timeout_seconds=0.1)
    telemetry = configure_telemetry(settings, "test")
    sampled = 0
    for _ in range(1_000):
        with telemetry.tracer.start_as_current_span("root") as root, span(telemetry.tracer, "below") as below:
            assert below.is_recording() == root.is_recording()
            sampled += root.is_recording()
    assert least <= sampled <= most
    with span(telemetry.tracer, "of a caller", headers={"traceparent": PARENT}) as continued:
        assert continued.is_recording()
    with span(telemetry.tracer, "of a caller", headers={"traceparent": PARENT[:-1] + "0"}) as continued:
        assert not continued.is_recording()
    telemetry.shutdown()
