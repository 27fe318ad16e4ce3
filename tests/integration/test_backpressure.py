"""Full queues and passed deadlines on a real nats-server: who waits, who is refused, what is counted."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import APIError
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.trace import NoOpTracer

from contracts import subjects, topology
from contracts.documents import IngestMessage
from contracts.messages import Message
from contracts.queries import AskQuestion
from contracts.retrieval import EmbedReply, EmbedRequest
from shared.messaging.broker import PendingLimits, settle
from shared.messaging.delivery import Delivery
from shared.messaging.publishing import FULL_STREAM_ERRORS
from shared.messaging.requests import Requester, respond
from shared.metrics import MessagingMetrics
from shared.service import Service
from shared.settings import PlatformSettings
from tests.running import client_of, eventually, running_service, stored
from tests.servers import NatsServer

INGEST = subjects.ingest("default")
ACK_WAIT_SECONDS = 0.5
DELIVERIES = 3
WORKERS = 4


class Stage:
    """A stage that passes every document on to the next queue, and remembers each attempt."""

    def __init__(self) -> None:
        self.attempts: list[tuple[str, int]] = []
        self.service: Service | None = None

    async def __call__(self, message: IngestMessage, delivery: Delivery) -> None:
        text = message.text or ""
        self.attempts.append((text, delivery.deliveries))
        assert self.service is not None
        await self.service.publisher.publish(subjects.CHUNKS_READY, message, tenant="default", message_id=text)


@asynccontextmanager
async def running_stage(server: NatsServer, stage: Stage) -> AsyncIterator[Service]:
    @asynccontextmanager
    async def lifespan(service: Service) -> AsyncIterator[None]:
        stage.service = service
        service.consume(topology.PARSER, IngestMessage, stage, workers=WORKERS)
        yield

    settings = PlatformSettings(nats_url=server.url, drain_seconds=10)
    async with running_service("parser", settings, lifespan) as service:
        yield service


async def bound(client: Client, stream: str, max_msgs: int) -> None:
    """Change how many messages a stream takes."""
    config = (await client.jetstream().stream_info(stream)).config
    config.max_msgs = max_msgs
    await client.jetstream().update_stream(config=config)


async def held(client: Client, stream: str) -> int:
    """Return how many messages a stream holds."""
    return int((await client.jetstream().stream_info(stream)).state.messages)


async def worked_off(client: Client) -> bool:
    """Tell whether every document is acknowledged by the stage."""
    info = await client.jetstream().consumer_info("INGEST", "parser")
    return not info.num_pending and not info.num_ack_pending


@pytest.fixture
async def broker(nats_broker: NatsServer, monkeypatch: pytest.MonkeyPatch) -> NatsServer:
    """A broker whose parser consumer gives up after a few short ack waits, and whose next queue is full."""

    async def no_drift(*_arguments: object, **_options: object) -> list[str]:
        return []

    # The interval follows from the declared ack wait of 30 s, which would make this test last for minutes.
    monkeypatch.setattr("shared.messaging.keeping.BEATS_PER_ACK_WAIT", 30 * 3 / ACK_WAIT_SECONDS)
    monkeypatch.setattr("shared.service.drift", no_drift)
    async with client_of(nats_broker.url) as client:
        jetstream = client.jetstream()
        config = (await jetstream.consumer_info("INGEST", "parser")).config
        config.ack_wait, config.max_deliver = ACK_WAIT_SECONDS, DELIVERIES
        await jetstream.add_consumer("INGEST", config=config)
        await bound(client, "CHUNKS", 1)
        await jetstream.publish(subjects.CHUNKS_READY, b"in the way")
    return nats_broker


async def test_a_full_queue_is_waited_for_without_using_up_a_delivery(broker: NatsServer) -> None:
    """INVARIANT: accepted is durable. If waiting for room counted as failing, an hour of overload would bury documents.

    The workers hold the first documents; others were fetched, or have arrived, and wait behind them in the process. A
    stage that gave them back, or let their ack wait pass, would use up the deliveries of what nobody has looked at.
    """
    stage = Stage()
    sent = [str(number) for number in range(WORKERS * 4)]
    async with running_stage(broker, stage), client_of(broker.url) as client:
        for text in sent:
            await client.jetstream().publish(INGEST, f'{{"text":"{text}"}}'.encode())
        await eventually(lambda: len(stage.attempts) > WORKERS * 2, "the queue was full a second time", 20)
        await asyncio.sleep(ACK_WAIT_SECONDS * DELIVERIES)
        assert {text for text, _ in stage.attempts} == set(sent[:WORKERS])
        await bound(client, "CHUNKS", 100)
        await eventually(lambda: worked_off(client), "all are passed on")
        assert {text for text, _ in stage.attempts} == set(sent)
        assert {deliveries for _, deliveries in stage.attempts} == {1}
        assert await held(client, "CHUNKS") == 1 + len(sent)
        assert await stored(client, "DEAD") == []
        assert await stored(client, "ADVISORIES") == []


async def test_what_waits_for_room_is_given_back_at_once_when_the_service_stops(broker: NatsServer) -> None:
    async with client_of(broker.url) as client:
        first = Stage()
        async with running_stage(broker, first):
            await client.jetstream().publish(INGEST, b'{"text":"waits"}')
            await eventually(lambda: first.attempts, "the document waits for room")
            began = time.monotonic()
        assert time.monotonic() - began < 5, "the stop does not wait for room"
        await bound(client, "CHUNKS", 100)
        second = Stage()
        async with running_stage(broker, second):
            await eventually(lambda: len(second.attempts) == 1, "another replica has it", 10)
        await eventually(lambda: worked_off(client), "the document is passed on")
        assert await held(client, "CHUNKS") == 2


async def test_a_producer_is_told_that_the_queue_is_full(nats_broker: NatsServer) -> None:
    async with client_of(nats_broker.url) as client:
        await bound(client, "INGEST", 1)
        await client.jetstream().publish(INGEST, b"{}")
        with pytest.raises(APIError) as refused:
            await client.jetstream().publish(INGEST, b"{}")
        assert refused.value.err_code in FULL_STREAM_ERRORS


async def test_an_expired_question_is_counted(nats_broker: NatsServer) -> None:
    async def answer(_question: AskQuestion, _delivery: Delivery) -> None:
        raise AssertionError("nobody waits for this answer")

    reader, metrics = counting()

    @asynccontextmanager
    async def lifespan(service: Service) -> AsyncIterator[None]:
        service._reliability.metrics = metrics
        service.consume(topology.AGENT, AskQuestion, answer, workers=1)
        yield

    question = b'{"tenant":"t","query_id":"q","question":"why?"}'
    settings = PlatformSettings(nats_url=nats_broker.url)
    async with running_service("agent", settings, lifespan), client_of(nats_broker.url) as client:
        headers = {subjects.HEADER_DEADLINE: "1000"}
        await client.jetstream().publish(subjects.QUERIES_ASK, question, headers=headers)
        await eventually(lambda: counted(reader) == {"agent": 1}, "the question is dropped and counted")


async def test_a_request_whose_caller_has_gone_is_not_worked_on_and_counted(nats_broker: NatsServer) -> None:
    """The retriever and the embedder's interactive lane take their work this way."""
    begun = 0
    gate = asyncio.Event()

    async def work(_request: EmbedRequest, _deadline: float | None) -> Message:
        nonlocal begun
        begun += 1
        await gate.wait()
        return EmbedReply(model="m", dimension=1, vectors=[])

    reader, metrics = counting()
    async with client_of(nats_broker.url) as server, client_of(nats_broker.url) as client:
        await respond(server, NoOpTracer(), metrics, subjects.EMBED_QUERY, EmbedRequest, work, queue="q", concurrency=1)
        await settle(server)
        requester = Requester(client, NoOpTracer(), timeout_seconds=10)
        request = EmbedRequest(texts=["x"])
        patient = asyncio.create_task(requester.ask(subjects.EMBED_QUERY, request, EmbedReply))
        await eventually(lambda: begun == 1, "the only place is taken")
        hurried = [
            asyncio.create_task(requester.ask(subjects.EMBED_QUERY, request, EmbedReply, deadline=time.time() + 0.2))
            for _ in range(3)
        ]
        given_up = await asyncio.gather(*hurried, return_exceptions=True)
        gate.set()
        assert (await patient).model == "m"
        await eventually(lambda: counted(reader) == {subjects.EMBED_QUERY: 3}, "the others are dropped and counted")
    assert begun == 1
    assert all(isinstance(each, Exception) and not isinstance(each, AssertionError) for each in given_up)


def counting() -> tuple[InMemoryMetricReader, MessagingMetrics]:
    """Return instruments, and a reader of what they count."""
    reader = InMemoryMetricReader()
    return reader, MessagingMetrics(MeterProvider(metric_readers=[reader]).get_meter("test"))


def counted(reader: InMemoryMetricReader) -> dict[str, int]:
    """Return what was dropped because it came too late, by where."""
    data: Any = reader.get_metrics_data()
    found = data.resource_metrics if data is not None else ()
    metrics = [one for each in found for scope in each.scope_metrics for one in scope.metrics]
    points = [point for metric in metrics if metric.name == "rag.work.expired" for point in metric.data.data_points]
    return {str(point.attributes["where"]): point.value for point in points}


async def test_a_subscription_that_is_not_served_holds_no_more_than_its_limit(nats_broker: NatsServer) -> None:
    """INVARIANT: memory is bounded. By default the client library keeps half a million messages of a subscription."""
    gate, last = asyncio.Event(), asyncio.Event()
    taken = 0

    async def take(message: Msg) -> None:
        nonlocal taken
        taken += 1
        await gate.wait()
        if message.data == b"last":
            last.set()

    async with client_of(nats_broker.url) as server, client_of(nats_broker.url) as client:
        await PendingLimits(messages=10).subscribe(server, "flood", take)
        await settle(server)
        for _ in range(100):
            await client.publish("flood", b"x")
        await settle(client)
        await settle(server)
        gate.set()
        await asyncio.sleep(0.1)  # Until what waited is taken nothing tells that there is room.
        await client.publish("flood", b"last")
        await eventually(last.is_set, "it takes messages again once it is served")
    # Ten that waited, the one that was in work if it was taken before the others came, and the last.
    assert taken in (11, 12)
