"""`POST /v1/traces`: what an exporter is told, and that what it was told is true."""

import asyncio
import gzip
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from opentelemetry.metrics import NoOpMeter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from sqlalchemy import Engine, event, func, select
from starlette.applications import Starlette

from services.persistence.database import Database, open_trace_database
from services.persistence.migrating import SPAN_MIGRATIONS, migrate
from services.persistence.settings import PersistenceSettings
from services.persistence.tracing.models import SPANS
from services.persistence.tracing.receiving import SpanReceiver
from services.persistence.tracing.span_metrics import SpanMetrics
from services.persistence.tracing.span_writer import Bounds, SpanWriter
from tests.running import eventually
from tests.unit.persistence.exported_spans import exported, message

PROTOBUF = {"Content-Type": "application/x-protobuf"}
GZIP = {**PROTOBUF, "Content-Encoding": "gzip"}
BOUNDS = Bounds(max_spans=10_000, max_of_trace=1_000, keep_seconds=86_400, queue_bytes=64 * 1024)
BODY = message(exported(1, 2), exported(1, 3, parent=2)).SerializeToString()


@pytest.fixture
def settings(tmp_path: Path) -> PersistenceSettings:
    return PersistenceSettings(
        data_dir=tmp_path,
        persistence_spans_max_body_bytes=64 * 1024,
        persistence_spans_max_unpacked_bytes=256 * 1024,
    )


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


@pytest.fixture
def database(settings: PersistenceSettings, stack: AsyncExitStack) -> Database:
    database = open_trace_database(settings)
    stack.callback(database.close)
    migrate(database.writes, SPAN_MIGRATIONS, patience_seconds=0)
    return database


@pytest.fixture
async def receiver(settings: PersistenceSettings) -> SpanReceiver:
    return SpanReceiver(settings)


@pytest.fixture
async def http(receiver: SpanReceiver, stack: AsyncExitStack) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(Starlette(routes=receiver.routes()))
    return await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://store"))


@pytest.fixture
async def writer(database: Database, receiver: SpanReceiver, stack: AsyncExitStack) -> SpanWriter:
    return open_writer(database.writes, receiver, stack)


def open_writer(engine: Engine, receiver: SpanReceiver, stack: AsyncExitStack) -> SpanWriter:
    writer = SpanWriter(engine, BOUNDS, SpanMetrics(NoOpMeter("test")))
    stack.push_async_callback(asyncio.to_thread, writer.close)
    stack.enter_context(receiver.receiving_for(writer))
    return writer


def count_of(database: Database) -> Callable[[], int]:
    def count() -> int:
        with database.reads.connect() as connection:
            return connection.execute(select(func.count()).select_from(SPANS)).scalar_one()

    return count


@pytest.mark.usefixtures("writer")
@pytest.mark.parametrize(("body", "headers"), [(BODY, PROTOBUF), (gzip.compress(BODY), GZIP)])
async def test_spans_are_taken_with_and_without_gzip(
    http: httpx.AsyncClient, database: Database, body: bytes, headers: dict[str, str]
) -> None:
    reply = await http.post("/v1/traces", content=body, headers=headers)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/x-protobuf")
    assert ExportTraceServiceResponse.FromString(reply.content).partial_success.rejected_spans == 0
    await eventually(lambda: count_of(database)() == 2, "both spans are stored")


@pytest.mark.usefixtures("writer")
@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"\xff\xff\xff", PROTOBUF, 400),
        (b"no gzip", GZIP, 400),
        (gzip.compress(BODY)[:-3], GZIP, 400),
        (b"x" * (64 * 1024 + 1), PROTOBUF, 413),
        (gzip.compress(b"\0" * (32 * 1024 * 1024)), GZIP, 413),
        (BODY, {**PROTOBUF, "Content-Encoding": "br"}, 415),
        (b"{}", {"Content-Type": "application/json"}, 415),
    ],
)
async def test_what_is_refused_is_told_why_and_leaves_the_store_working(
    http: httpx.AsyncClient, database: Database, body: bytes, headers: dict[str, str], status: int
) -> None:
    reply = await http.post("/v1/traces", content=body, headers=headers)
    assert reply.status_code == status
    assert len(reply.content) > 10
    assert (await http.post("/v1/traces", content=BODY, headers=PROTOBUF)).status_code == 200
    await eventually(lambda: count_of(database)() == 2, "later spans are stored")


async def test_spans_are_asked_to_come_later_while_nobody_writes_them(http: httpx.AsyncClient) -> None:
    reply = await http.post("/v1/traces", content=BODY, headers=PROTOBUF)
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")


async def test_a_full_queue_refuses_at_once_and_takes_spans_again_when_it_is_written(
    http: httpx.AsyncClient, database: Database, receiver: SpanReceiver, stack: AsyncExitStack
) -> None:
    """INVARIANT: spans never wait at the cost of the work. What the database does not take, the exporter hears of."""
    released = threading.Event()
    stack.callback(released.set)

    @event.listens_for(database.writes, "begin")
    def stand_still(_connection: object) -> None:
        released.wait(20)

    writer = open_writer(database.writes, receiver, stack)
    large = message(
        *(exported(2, number, attributes={"text": "x" * 900}) for number in range(1, 40))
    ).SerializeToString()
    statuses = [(await http.post("/v1/traces", content=large, headers=PROTOBUF)).status_code for _ in range(4)]
    assert statuses[0] == 200
    assert statuses[-1] == 503
    released.set()
    await eventually(lambda: not writer.is_full and not writer.is_busy, "the queue is written")
    assert (await http.post("/v1/traces", content=BODY, headers=PROTOBUF)).status_code == 200
    await eventually(lambda: count_of(database)() == 41, "all that was accepted is stored")


async def test_what_was_accepted_is_written_when_the_writer_closes(
    http: httpx.AsyncClient, database: Database, writer: SpanWriter
) -> None:
    await http.post("/v1/traces", content=BODY, headers=PROTOBUF)
    await asyncio.to_thread(writer.close)
    assert count_of(database)() == 2
    assert (await http.post("/v1/traces", content=BODY, headers=PROTOBUF)).status_code == 503


async def test_a_flood_stays_within_the_bound_of_the_store(
    http: httpx.AsyncClient, database: Database, receiver: SpanReceiver, stack: AsyncExitStack
) -> None:
    bounds = Bounds(max_spans=200, max_of_trace=50, keep_seconds=86_400, queue_bytes=8 * 1024 * 1024)
    writer = SpanWriter(database.writes, bounds, SpanMetrics(NoOpMeter("test")))
    stack.push_async_callback(asyncio.to_thread, writer.close)
    with receiver.receiving_for(writer):
        for trace in range(1, 60):
            body = message(*(exported(trace, span, at_ms=trace) for span in range(1, 21))).SerializeToString()
            assert (await http.post("/v1/traces", content=body, headers=PROTOBUF)).status_code == 200
        await asyncio.to_thread(writer.close)
    assert 0 < count_of(database)() <= 200
