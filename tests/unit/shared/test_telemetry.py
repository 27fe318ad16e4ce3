"""Spans and the traces that they belong to."""

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Tracer

from shared.telemetry import current_trace_id, links_to, span

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def recorded() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(recorded: InMemorySpanExporter) -> Tracer:
    provider = TracerProvider()
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
