import httpx
import pytest
from opentelemetry.metrics import NoOpMeter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracer, SpanKind
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send
from structlog.testing import capture_logs

from services.gateway.edge import Edge, request_duration

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def item(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("x")


async def broken(_request: Request) -> PlainTextResponse:
    raise KeyError("secret")


async def asked(method: str, path: str, **headers: str) -> tuple[httpx.Response, ReadableSpan]:
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    edge = Middleware(Edge, tracer=provider.get_tracer("test"), duration=request_duration(NoOpMeter("test")))
    app = Starlette(routes=[Route("/items/{item_id}", item), Route("/broken", broken)], middleware=[edge])
    transport = httpx.ASGITransport(app)
    with capture_logs():
        async with httpx.AsyncClient(transport=transport, base_url="http://rag", headers=headers) as http:
            response = await http.request(method, path)
    [span] = spans.get_finished_spans()
    return response, span


async def test_a_request_is_one_span_named_by_its_route() -> None:
    response, span = await asked("GET", "/items/7")
    assert (span.name, span.kind) == ("GET /items/{item_id}", SpanKind.SERVER)
    assert span.context is not None
    assert response.headers["X-Trace-Id"] == format(span.context.trace_id, "032x")
    assert dict(span.attributes or {}) == {
        "http.request.method": "GET",
        "http.route": "/items/{item_id}",
        "http.response.status_code": 200,
    }


async def test_the_trace_of_the_caller_goes_on() -> None:
    _, span = await asked("GET", "/items/7", traceparent=PARENT)
    assert span.parent is not None
    assert format(span.parent.trace_id, "032x") == PARENT.split("-")[1]
    assert format(span.parent.span_id, "016x") == PARENT.split("-")[2]


@pytest.mark.parametrize(("method", "path"), [("GET", "/secret/path"), ("BREW", "/secret/path")])
async def test_what_a_caller_makes_up_is_no_name_of_a_span(method: str, path: str) -> None:
    _, span = await asked(method, path)
    assert span.name in ("GET unmatched", "_OTHER unmatched")


async def test_a_failure_is_a_500_without_internals_and_an_error_in_the_trace() -> None:
    response, span = await asked("GET", "/broken")
    assert (response.status_code, response.json()["trace_id"]) == (500, response.headers["X-Trace-Id"])
    assert "secret" not in response.text
    assert not span.status.is_ok


async def test_a_failure_in_the_middle_of_an_answer_does_not_start_a_second_one() -> None:
    async def half(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        raise KeyError("secret")

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "GET", "path": "/half", "headers": []}
    with capture_logs() as logs:
        await Edge(half, NoOpTracer(), request_duration(NoOpMeter("test")))(scope, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert [entry["event"] for entry in logs] == ["request_fault"]
