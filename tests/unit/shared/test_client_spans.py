"""Spans of calls that leave the process: who was called and how it went, never what was asked."""

import httpx2
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, Tracer

from shared.client_spans import database_span
from shared.openai_http import TracedHttpClient
from shared.telemetry import span

ADDRESS = "http://models.internal:8443/v1/chat?api_key=planted-key"


@pytest.fixture
def exported() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exported: InMemorySpanExporter) -> Tracer:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exported))
    return provider.get_tracer("test")


def client(tracer: Tracer, answer: httpx2.MockTransport) -> TracedHttpClient:
    made = TracedHttpClient(transport=answer)
    made.tracer = tracer
    return made


async def test_a_request_carries_the_trace_on_and_leaves_neither_path_nor_key(
    tracer: Tracer, exported: InMemorySpanExporter
) -> None:
    sent: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(request)
        return httpx2.Response(429, text="planted-answer")

    async with client(tracer, httpx2.MockTransport(answer)) as http:
        with span(tracer, "around"):
            await http.post(ADDRESS, json={"question": "planted-question"}, headers={"Authorization": "planted-token"})
    call, around = exported.get_finished_spans()
    assert call.parent is not None
    assert (call.name, call.kind, call.parent.span_id) == ("POST", SpanKind.CLIENT, around.context.span_id)
    assert dict(call.attributes or {}) == {
        "http.request.method": "POST",
        "server.address": "models.internal",
        "server.port": 8443,
        "http.response.status_code": 429,
    }
    assert "planted" not in call.to_json()
    assert sent[0].headers["traceparent"].split("-")[2] == format(call.context.span_id, "016x")


async def test_a_request_that_fails_says_how_and_not_in_the_words_of_the_error(
    tracer: Tracer, exported: InMemorySpanExporter
) -> None:
    def fail(_request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("planted words")

    async with client(tracer, httpx2.MockTransport(fail)) as http:
        with span(tracer, "around"), pytest.raises(httpx2.ConnectError):
            await http.get(ADDRESS)
    call = exported.get_finished_spans()[0]
    assert (call.attributes or {})["error.type"] == "ConnectError"
    assert not call.status.is_ok
    assert "planted" not in call.to_json()


def test_without_a_recorded_span_around_it_a_call_leaves_none(tracer: Tracer, exported: InMemorySpanExporter) -> None:
    with database_span(tracer, "redis", "GET") as current:
        assert not current.is_recording()
    with span(tracer, "around"), database_span(None, "redis", "GET") as current:
        assert not current.is_recording()
    assert [each.name for each in exported.get_finished_spans()] == ["around"]
