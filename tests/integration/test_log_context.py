"""Lines of a message and of a request name what they are about, and nothing of the one before."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from contracts import subjects, topology
from contracts.codec import encode
from contracts.documents import IngestMessage
from contracts.reads import CollectionList, CollectionsQuery, CollectionView
from shared.logs import get_logger
from shared.messaging.delivery import Delivery
from shared.service import Service
from shared.settings import PlatformSettings
from tests.captured_logs import captured_lines, lines_of
from tests.integration.gateway_stand import running_stand
from tests.running import client_of, eventually, running_service
from tests.servers import NatsServer

TRACE = "0af7651916cd43dd8448eb211c80319c"
HEADERS = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
WORDS = "words-of-somebody"


@asynccontextmanager
async def parser(broker: NatsServer) -> AsyncIterator[None]:
    """Run a service with one worker that fails at every second message."""

    async def handle(message: IngestMessage, delivery: Delivery) -> None:
        if message.id:
            raise ValueError(f"{WORDS} in {message.text}")
        get_logger("services.parser.x").info("handled")

    @asynccontextmanager
    async def lifespan(service: Service) -> AsyncIterator[None]:
        service.consume(topology.PARSER, IngestMessage, handle, workers=1)
        yield

    async with running_service("parser", PlatformSettings(nats_url=broker.url, drain_seconds=5), lifespan):
        yield


async def test_lines_of_messages(nats_broker: NatsServer) -> None:
    with captured_lines("parser", log_level="debug") as stream:
        async with parser(nats_broker), client_of(nats_broker.url) as client:
            jetstream = client.jetstream()
            subject = subjects.ingest("acme")
            headers = {**HEADERS, subjects.HEADER_CORRELATION_ID: "request-7"}
            await jetstream.publish(subject, b'{"id": "handbook", "text": "x"}', headers=headers)
            await jetstream.publish(subjects.ingest("other"), b'{"id": null, "uri": null, "text": "y"}')
            await eventually(lambda: "handled" in stream.getvalue(), "both are handled")
    lines = lines_of(stream)
    failed = next(line for line in lines if line["event"] == "message_fault")
    handled = next(line for line in lines if line["event"] == "handled")
    said = {"tenant": "acme", "document_id": "handbook", "trace_id": TRACE, "correlation_id": "request-7"}
    assert failed | said | {"consumer": "parser", "sequence": 1, "error_type": "ValueError"} == failed
    assert (handled["tenant"], handled["sequence"], handled["consumer"]) == ("other", 2, "parser")
    assert handled["document_id"] != "handbook"
    assert handled["correlation_id"] != "request-7"
    assert WORDS not in stream.getvalue()
    assert not {"tenant", "document_id", "correlation_id"} & lines[-1].keys()


async def test_lines_of_requests(nats_broker: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise KeyError(WORDS)

    with captured_lines("gateway") as stream:
        async with running_stand(nats_broker) as stand:
            monkeypatch.setattr(type(stand.gateway.reads), "document", broken)
            monkeypatch.setattr(type(stand.gateway.reads), "collections", broken)
            assert (await stand.http.get("/v1/documents/handbook", headers=HEADERS)).status_code == 500
            assert (await stand.http.get("/v1/collections")).status_code == 500
    first, second = (line for line in lines_of(stream) if line["event"] == "request_fault")
    assert first | {"tenant": "default", "document_id": "handbook", "trace_id": TRACE, "method": "GET"} == first
    assert first["correlation_id"] == TRACE
    assert "document_id" not in second
    assert second["trace_id"] not in ("", TRACE)
    assert WORDS not in stream.getvalue()


async def test_a_reply_that_cannot_be_sent_is_a_fault_in_the_log_with_its_request(nats_broker: NatsServer) -> None:
    async def too_much(_query: CollectionsQuery, _deadline: float | None) -> CollectionList:
        views = [CollectionView(name="c" * 60, documents=1, chunks=1, by_status={})] * 20_000
        return CollectionList(items=views)

    @asynccontextmanager
    async def lifespan(service: Service) -> AsyncIterator[None]:
        service.respond(subjects.READ_COLLECTIONS, CollectionsQuery, too_much)
        yield

    settings = PlatformSettings(nats_url=nats_broker.url, drain_seconds=5)
    with captured_lines("persistence") as stream:
        async with running_service("persistence", settings, lifespan), client_of(nats_broker.url) as client:
            query = encode(CollectionsQuery(tenant="acme"))
            reply = await client.request(subjects.READ_COLLECTIONS, query, timeout=10, headers=HEADERS)
    assert (reply.headers or {})[subjects.HEADER_ERROR] == "internal_error"
    [fault] = [line for line in lines_of(stream) if line["event"] == "request_fault"]
    assert (fault["subject"], fault["trace_id"], fault["error_type"]) == (
        subjects.READ_COLLECTIONS,
        TRACE,
        "MaxPayloadError",
    )
