"""Acknowledgement, retry, dead letters and shutdown on a real nats-server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from contracts import subjects, topology
from contracts.codec import encode
from contracts.documents import IngestMessage
from contracts.queries import AskQuestion
from shared.errors import DeadlineExpired, Rejected, Unavailable
from shared.messaging.broker import settle
from shared.messaging.delivery import Delivery
from shared.service import Service
from shared.settings import PlatformSettings
from tests.running import client_of, eventually, running_service, stored
from tests.servers import NatsServer

INGEST = subjects.ingest("default")


class Recorder:
    """A parser handler that records what it is given and fails as told."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []
        self.failures: dict[str, Exception] = {}
        self.heal_after: dict[str, int] = {}
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, message: IngestMessage, delivery: Delivery) -> None:
        text = message.text or ""
        self.seen.append((text, delivery.deliveries))
        await self.gate.wait()
        if text in self.failures and delivery.deliveries < self.heal_after.get(text, 1_000):
            raise self.failures[text]

    def times(self, text: str) -> int:
        return sum(1 for seen, _ in self.seen if seen == text)


@asynccontextmanager
async def parser(server: NatsServer, recorder: Recorder, workers: int = 4) -> AsyncIterator[Service]:
    @asynccontextmanager
    async def lifespan(service: Service) -> AsyncIterator[None]:
        service.consume(topology.PARSER, IngestMessage, recorder, workers=workers)
        yield

    settings = PlatformSettings(nats_url=server.url, drain_seconds=5)
    async with running_service("parser", settings, lifespan) as service:
        yield service


async def parser_backlog(server: NatsServer) -> int:
    async with client_of(server.url) as client:
        info = await client.jetstream().consumer_info("INGEST", "parser")
        return (info.num_pending or 0) + (info.num_ack_pending or 0)


async def test_a_message_that_cannot_succeed_ends_dead_with_its_reason_and_blocks_nothing(
    nats_broker: NatsServer,
) -> None:
    """INVARIANT: nothing poisons the queue. Acknowledging on error, or retrying without a bound, would break it."""
    recorder = Recorder()
    recorder.failures = {
        "rejected": Rejected("is corrupt", code="corrupt", field="text"),
        "fault": ValueError("secret"),
    }
    async with parser(nats_broker, recorder), client_of(nats_broker.url) as client:
        jetstream = client.jetstream()
        for payload in (b"not json", b'{"text":"rejected"}', b'{"text":"fault"}', b'{"text":"good"}'):
            await jetstream.publish(INGEST, payload, headers={"traceparent": "kept", "My-Header": "kept"})
        await eventually(lambda: recorder.times("good") == 1, "the good message behind is processed", seconds=2)

        async def three_dead() -> bool:
            return len(await stored(client, "DEAD")) == 3

        await eventually(three_dead, "three dead letters")
        dead = {message.data: message for message in await stored(client, "DEAD")}
        assert await parser_backlog(nats_broker) == 0
    assert recorder.times("rejected") == 1
    assert recorder.times("fault") == topology.PARSER.max_faults
    rejected = dead[b'{"text":"rejected"}']
    assert rejected.subject == "rag.v1.dead.parser"
    assert rejected.headers is not None
    assert rejected.headers["Rag-Dead-Code"] == "corrupt"
    assert rejected.headers["Rag-Dead-Field"] == "text"
    assert rejected.headers["Rag-Dead-Subject"] == INGEST
    assert rejected.headers["My-Header"] == "kept"
    fault = dead[b'{"text":"fault"}'].headers or {}
    assert fault["Rag-Dead-Deliveries"] == str(topology.PARSER.max_faults)
    assert "secret" not in str(fault)
    assert (dead[b"not json"].headers or {})["Rag-Dead-Code"] == "invalid_message"


async def test_a_retryable_failure_is_tried_again_until_it_heals(nats_broker: NatsServer) -> None:
    recorder = Recorder()
    recorder.failures = {"later": Unavailable("gone", retry_after_seconds=0.01)}
    recorder.heal_after = {"later": 3}
    async with parser(nats_broker, recorder), client_of(nats_broker.url) as client:
        await client.jetstream().publish(INGEST, b'{"text":"later"}')
        await eventually(lambda: recorder.times("later") == 3, "the third delivery")

        async def settled() -> bool:
            return await parser_backlog(nats_broker) == 0

        await eventually(settled, "the message is acknowledged")
        assert await stored(client, "DEAD") == []
    assert [deliveries for _, deliveries in recorder.seen] == [1, 2, 3]


@pytest.mark.parametrize("by", ["header", "handler"])
async def test_an_expired_question_is_dropped_without_a_dead_letter(nats_broker: NatsServer, by: str) -> None:
    asked = 0

    async def answer(_question: AskQuestion, _delivery: Delivery) -> None:
        nonlocal asked
        asked += 1
        raise DeadlineExpired("late")

    @asynccontextmanager
    async def lifespan(service: Service) -> AsyncIterator[None]:
        service.consume(topology.AGENT, AskQuestion, answer, workers=1)
        yield

    headers = {subjects.HEADER_DEADLINE: "1000"} if by == "header" else None
    question = encode(AskQuestion(tenant="t", query_id="q", question="why?"))
    settings = PlatformSettings(nats_url=nats_broker.url)
    async with running_service("agent", settings, lifespan), client_of(nats_broker.url) as client:
        await client.jetstream().publish(subjects.QUERIES_ASK, question, headers=headers)

        async def settled() -> bool:
            return (await client.jetstream().stream_info("QUERIES")).state.messages == 0

        await eventually(settled, "the question is settled")
        assert await stored(client, "DEAD") == []
    assert asked == (0 if by == "header" else 1)


async def test_a_document_has_no_deadline_once_it_is_accepted(nats_broker: NatsServer) -> None:
    """INVARIANT: accepted is durable. A deadline on the ingestion message must not make it vanish without an end."""
    recorder = Recorder()
    headers = {subjects.HEADER_DEADLINE: "1000"}
    async with parser(nats_broker, recorder), client_of(nats_broker.url) as client:
        await client.jetstream().publish(INGEST, b'{"text":"late"}', headers=headers)
        await eventually(lambda: recorder.times("late") == 1, "the document is parsed")


async def test_a_producer_cannot_make_a_service_publish_for_it(nats_broker: NatsServer) -> None:
    """INVARIANT: a `reply_to` header is data. FastStream would publish the handler's result to the subject it names."""
    recorder = Recorder()
    async with parser(nats_broker, recorder), client_of(nats_broker.url) as client:
        evil = await client.subscribe("evil.subject")
        await settle(client)
        await client.jetstream().publish(INGEST, b'{"text":"x"}', headers={"reply_to": "evil.subject"})

        async def settled() -> bool:
            return await parser_backlog(nats_broker) == 0 and recorder.times("x") == 1

        await eventually(settled, "the message is acknowledged")
        await settle(client)
        assert evil.pending_msgs == 0


async def test_a_stopping_service_finishes_what_runs_and_gives_back_what_waits(nats_broker: NatsServer) -> None:
    """INVARIANT: shutdown delays nobody. Dropped without a nak, a fetched message waits for its ack wait."""
    recorder = Recorder()
    recorder.gate.clear()
    async with client_of(nats_broker.url) as client:
        async with parser(nats_broker, recorder, workers=2):
            for number in range(12):
                await client.jetstream().publish(INGEST, f'{{"text":"{number}"}}'.encode())
            await eventually(lambda: len(recorder.seen) == 2, "both workers are busy")
            asyncio.get_running_loop().call_later(0.3, recorder.gate.set)
        first = set(recorder.seen)
        assert len(first) == 2, "nothing was started after the stop"
        second = Recorder()
        async with parser(nats_broker, second, workers=2):
            await eventually(lambda: len(second.seen) == 10, "the rest is delivered at once", seconds=5)
    assert {text for text, _ in first} | {text for text, _ in second.seen} == {str(number) for number in range(12)}


async def test_slow_work_is_not_delivered_a_second_time(
    nats_broker: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """INVARIANT: progress is reported. Without the heartbeat the broker gives slow work to a second worker."""
    async with client_of(nats_broker.url) as client:
        jetstream = client.jetstream()
        info = await jetstream.consumer_info("INGEST", "parser")
        info.config.ack_wait = 1.0
        await jetstream.add_consumer("INGEST", config=info.config)
        monkeypatch.setattr("shared.messaging.keeping.BEATS_PER_ACK_WAIT", 100)
        monkeypatch.setattr("shared.service.drift", _no_drift)
        recorder = Recorder()
        recorder.gate.clear()
        async with parser(nats_broker, recorder):
            await jetstream.publish(INGEST, b'{"text":"slow"}')
            await eventually(lambda: recorder.times("slow") == 1, "the work has begun")
            asyncio.get_running_loop().call_later(2.5, recorder.gate.set)
            await recorder.gate.wait()
            await eventually(lambda: _acknowledged(nats_broker), "the message is acknowledged")
    assert recorder.times("slow") == 1


async def _no_drift(*_arguments: object, **_options: object) -> list[str]:
    return []


async def _acknowledged(server: NatsServer) -> bool:
    return await parser_backlog(server) == 0


async def test_a_dead_letter_too_large_for_a_message_keeps_its_payload_in_the_object_store(
    nats_broker: NatsServer,
) -> None:
    recorder = Recorder()
    text = "x" * (1024 * 1024 - 5_000)
    recorder.failures = {text: Rejected("no", code="corrupt")}
    payload = f'{{"text":"{text}"}}'.encode()
    async with parser(nats_broker, recorder), client_of(nats_broker.url) as client:
        await client.jetstream().publish(INGEST, payload)

        async def one_dead() -> bool:
            return len(await stored(client, "DEAD")) == 1

        await eventually(one_dead, "the dead letter")
        headers = (await stored(client, "DEAD"))[0].headers or {}
        store = await client.jetstream().object_store(subjects.UPLOADS_BUCKET)
        assert (await store.get(headers["Rag-Dead-Object"])).data == payload


async def test_a_consumer_that_is_deleted_does_not_make_its_service_spin(nats_broker: NatsServer) -> None:
    """INVARIANT: a fault of the broker costs little. A refused pull that is repeated at once takes a whole core."""
    async with parser(nats_broker, Recorder()), client_of(nats_broker.url) as client:
        await client.jetstream().delete_consumer("INGEST", "parser")
        pulls = await client.subscribe("$JS.API.CONSUMER.MSG.NEXT.INGEST.parser")
        await asyncio.sleep(3)
        assert pulls.pending_msgs <= 5
