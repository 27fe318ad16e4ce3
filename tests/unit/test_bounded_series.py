"""Ten thousand tenants, documents, subjects and collections, and no more series than a hundred make."""

from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock

import pytest
from fastapi import FastAPI
from faststream import ContextRepo
from faststream.message import StreamMessage
from nats.aio.msg import Msg
from opentelemetry.trace import NoOpTracer
from sqlalchemy import insert
from starlette.types import Message
from structlog.testing import capture_logs

from contracts import subjects
from contracts.retrieval import RetrieveReply, RetrieveRequest
from contracts.topology import CONSUMERS, DEAD_LETTERS, PARSER
from services.gateway.app import build_app
from services.gateway.authentication import Anybody
from services.gateway.settings import GatewaySettings
from services.persistence import figures
from services.persistence.database import open_database
from services.persistence.metrics import FigureGauges, LetterMetrics
from services.persistence.migrating import migrate
from services.persistence.models import DOCUMENTS
from services.persistence.settings import PersistenceSettings
from services.retriever.metrics import SearchMetrics
from shared.errors import Rejected
from shared.messaging.dead_letters import DeadLetters
from shared.messaging.delivery import Delivery
from shared.messaging.reliability import Reliability
from shared.metrics import MessagingMetrics
from shared.service import Service
from tests.measuring import Measured
from tests.unit.persistence.histories import AT

STATUSES = ("accepted", "processing", "indexed", "failed")
FEW, MANY = 100, 10_000


def series(measured: Measured) -> int:
    return sum(len(points) for points in measured.points().values())


async def same_however_many(measured: Measured, feed: Callable[[int], Awaitable[None]]) -> None:
    """Feed numbers, and see that from some hundred on there is nothing new; nor may a made-up name become a label."""
    for number in range(FEW):
        await feed(number)
    few = series(measured)
    for number in range(FEW, MANY):
        await feed(number)
    assert 0 < few == series(measured)
    for points in measured.points().values():
        for point in points:
            assert "made-up" not in str(point.attributes).lower()


class Broker:
    """Takes acknowledgements and dead letters."""

    async def publish(self, *_arguments: object, **_named: object) -> None:
        """Take what is published."""

    publish_bytes = publish


async def test_messages_of_any_tenant_and_subject_done_repeated_and_dead() -> None:
    measured, broker = Measured(), cast(Any, Broker())
    reliability = Reliability(NoOpTracer(), MessagingMetrics(measured.meter))
    reliability.dead_letters = DeadLetters(broker, broker, max_payload_bytes=1_000_000)

    async def feed(number: int) -> None:
        raw = Msg(
            broker,
            subject=subjects.ingest(f"made-up-{number}"),
            reply=f"$JS.ACK.INGEST.{PARSER.name}.{1 + number % 3}.{number + 1}.{number + 1}.1700000000000000000.0",
            data=b"{}",
            headers={subjects.HEADER_MESSAGE_ID: f"made-up-{number}"},
        )

        async def decode(_message: object) -> Delivery:
            return Delivery.of(raw)

        async def handle(_message: object) -> None:
            if number % 4 == 0:
                raise Rejected("no good", code="corrupt", field=f"made-up-{number}")

        message: StreamMessage[Msg] = StreamMessage(raw_message=raw, body=b"{}")
        message.set_decoder(decode)
        await reliability(raw, context=ContextRepo()).consume_scope(handle, message)

    with capture_logs():
        await same_however_many(measured, feed)
    assert measured.total("rag.messages.processed", outcome="dead") == MANY / 4
    assert measured.total("rag.messages.processed") == MANY


async def test_requests_for_any_path_by_any_method(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    measured = Measured()
    settings = GatewaySettings(data_dir=tmp_path)
    service = Service("gateway", settings)
    monkeypatch.setattr(service, "telemetry", replace(service.telemetry, meter=measured.meter))
    app = build_app(service, settings)
    app.state.access = SimpleNamespace(authenticator=Anybody(), trail=Mock())
    paths = ["/v1/documents/made-up-{}", "/v1/collections/made-up-{}", "/made-up-{}", "/metrics/made-up-{}", "/live"]
    methods = ["GET", "DELETE", "MADE-UP-{}", "POST"]

    async def feed(number: int) -> None:
        path = paths[number % len(paths)].format(number)
        method = methods[number % len(methods)].format(number)
        await served(app, method, path, f"made-up-{number}")

    with capture_logs():
        await same_however_many(measured, feed)
    name = "http.server.request.duration"
    assert measured.total(name) == MANY
    assert measured.total(name, http_route="/v1/documents/{document_id:path}", http_request_method="GET") > 0
    assert measured.total(name, http_route="/live") > 0
    assert measured.total(name, http_request_method="_OTHER") > 0
    service.telemetry.meter_provider.shutdown()


async def served(app: FastAPI, method: str, path: str, tenant: str) -> None:
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1"), (b"rag-tenant", tenant.encode())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 1),
        "state": {},
    }

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_message: Message) -> None:
        """Nobody reads it."""

    await app(scope, receive, send)


async def test_documents_of_any_tenant_in_any_collection(tmp_path: Path) -> None:
    measured = Measured()
    gauges = FigureGauges(measured.meter)
    with closing(open_database(PersistenceSettings(data_dir=tmp_path))) as database:
        migrate(database.writes, patience_seconds=0)
        for few, many in ((0, FEW), (FEW, MANY)):
            rows = [document(number) for number in range(few, many)]
            with database.writes.begin() as connection:
                connection.execute(insert(DOCUMENTS), rows)
            with database.reads.connect() as connection:
                gauges.shown = figures.count(connection)
            assert series(measured) <= (figures.MAX_COLLECTIONS + 1) * (len(STATUSES) + 1) + 2
            assert measured.total("rag.documents") == many
            assert measured.total("rag.documents", collection=figures.OTHER_COLLECTIONS) == many - 20


def document(number: int) -> dict[str, Any]:
    return {
        "tenant": f"tenant-{number}",
        "document_id": f"made-up-{number}",
        "revision": number + 1,
        "status": STATUSES[number % len(STATUSES)],
        "collection": f"made-up-{number}",
        "metadata": {},
        **dict.fromkeys(("batches", "chunks", "chunks_indexed", "visible_revision", "visible_chunks"), 1),
        "created_at": AT,
        "updated_at": AT,
    }


async def test_dead_letters_of_any_consumer() -> None:
    measured = Measured()

    async def store(_delivery: Delivery) -> None:
        """Keep nothing."""

    count = LetterMetrics(measured.meter).counting(store)

    async def feed(number: int) -> None:
        name = CONSUMERS[number % len(CONSUMERS)].name if number % 2 else f"made-up-{number}"
        await count(Delivery(subjects.dead(name), {}, "DEAD", DEAD_LETTERS.name, number, 1, 0.0, b""))

    await same_however_many(measured, feed)
    assert measured.total("rag.dead_letters.arrived", consumer="_other") == MANY / 2


async def test_searches_of_any_tenant_collection_and_filter() -> None:
    measured = Measured()
    metrics = SearchMetrics(measured.meter)

    class Search:
        async def retrieve(self, request: RetrieveRequest, deadline: float | None) -> RetrieveReply:
            if request.filter:
                raise Rejected(f"no field {request.filter}", code="invalid_filter")
            return RetrieveReply(hits=[], took_ms={}, model="m", reranked=None)

    async def feed(number: int) -> None:
        name = f"made-up-{number}"
        request = RetrieveRequest(tenant=name, query=name, collection=name, filter={name: 1} if number % 3 else None)
        with suppress(Rejected):
            await metrics.retrieve(Search(), request, None)

    await same_however_many(measured, feed)
    assert measured.total("rag.searches.duration") == MANY
