"""How long and with what a publisher tries, on a real broker."""

import asyncio
import time

import pytest
from nats.aio.client import Client
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracer, format_span_id

from shared.errors import Overloaded, PlatformError, Rejected, Unavailable
from shared.messaging.provisioning import provision
from shared.messaging.publishing import Outgoing, Published, Publisher
from tests.running import client_of
from tests.servers import NatsServer

SUBJECT = "rag.v1.ingest.default"


async def publish(client: Client, timeout_seconds: float, message_id: str = "a") -> Published:
    publisher = Publisher(client, NoOpTracer(), timeout_seconds=timeout_seconds)
    return await publisher.publish_bytes(SUBJECT, b"{}", tenant="default", message_id=message_id, headers={})


async def publish_each(
    client: Client, *payloads: bytes, timeout_seconds: float = 10.0
) -> list[Published | PlatformError]:
    publisher = Publisher(client, NoOpTracer(), timeout_seconds=timeout_seconds)
    messages = [Outgoing(payload, f"id-{place}", {"Place": str(place)}) for place, payload in enumerate(payloads)]
    return await publisher.publish_each(SUBJECT, messages, tenant="default")


async def bound_ingest(client: Client, messages: int) -> None:
    jetstream = client.jetstream()
    config = (await jetstream.stream_info("INGEST")).config
    config.max_msgs = messages
    await jetstream.update_stream(config=config)


async def test_a_stream_that_is_missing_is_waited_for_and_then_named(bare_nats: NatsServer) -> None:
    """As long as a setting says, and no shorter: an election may take nearly as long."""
    async with client_of(bare_nats.url) as client:
        begun = time.monotonic()
        with pytest.raises(Unavailable, match=r"no stream takes rag.v1.ingest.{tenant} .* `rag provision`"):
            await publish(client, 1.0)
        assert 0.7 < time.monotonic() - begun < 3.0

        waiting = asyncio.create_task(publish(client, 20.0))
        await asyncio.sleep(0.5)
        await provision(client.jetstream(), replicas=1, first_revision=7)
        assert (await waiting).sequence == 7


async def test_a_message_whose_acknowledgement_is_lost_is_stored_once(nats_broker: NatsServer) -> None:
    """INVARIANT: effects happen once. A repeat carries the id of the first attempt."""
    async with client_of(nats_broker.url) as client:
        send, replies = client.publish, []

        async def astray(subject: str, payload: bytes, reply: str, headers: dict[str, str]) -> None:
            replies.append(reply)
            # The broker stores it, and its answer goes where nobody listens.
            await send(subject, payload, f"{reply}.astray" if len(replies) == 1 else reply, headers)

        client.publish = astray  # type: ignore[method-assign, assignment]
        published = await publish(client, 10.0)
        assert (published.duplicate, len(replies)) == (True, 2)
        assert (await client.jetstream().stream_info("INGEST")).state.messages == 1


async def test_a_full_stream_refuses_at_once(nats_broker: NatsServer) -> None:
    async with client_of(nats_broker.url) as client:
        await bound_ingest(client, 1)
        await publish(client, 10.0)
        begun = time.monotonic()
        with pytest.raises(Overloaded):
            await publish(client, 30.0, "b")
        assert time.monotonic() - begun < 5.0


async def test_what_is_published_in_one_go_stands_in_its_order(nats_broker: NatsServer) -> None:
    async with client_of(nats_broker.url) as client:
        payloads = [f'{{"n": {number}}}'.encode() for number in range(50)]
        assert await publish_each(client, *payloads) == [Published(place, duplicate=False) for place in range(1, 51)]
        stored = [await client.jetstream().get_msg("INGEST", place) for place in range(1, 51)]
        assert [message.data for message in stored] == payloads
        assert [(message.headers or {})["Place"] for message in stored] == [str(place) for place in range(50)]
        again = await publish_each(client, *payloads)
        assert again == [Published(place, duplicate=True) for place in range(1, 51)]


async def test_each_message_of_one_go_is_refused_by_itself(nats_broker: NatsServer) -> None:
    """INVARIANT: accepted is durable. What one message is refused for says nothing of those beside it."""
    async with client_of(nats_broker.url) as client:
        await bound_ingest(client, 3)
        huge = b"x" * (client.max_payload + 1)
        outcomes = await publish_each(client, b"1", huge, b"2", b"3", b"4", b"5")
        assert [type(outcome) for outcome in outcomes] == [Published, Rejected, Published, Published, *[Overloaded] * 2]
        assert [outcome.sequence for outcome in outcomes if isinstance(outcome, Published)] == [1, 2, 3]


async def test_what_of_one_go_was_not_acknowledged_is_stored_once(nats_broker: NatsServer) -> None:
    """INVARIANT: effects happen once. Only what nobody acknowledged is sent again, under the same id."""
    async with client_of(nats_broker.url) as client:
        send, sent = client.publish, []

        async def astray(subject: str, payload: bytes, reply: str, headers: dict[str, str]) -> None:
            sent.append(payload)
            # The broker stores it, and its answer goes where nobody listens.
            await send(
                subject, payload, f"{reply}.astray" if payload == b"2" and sent.count(b"2") == 1 else reply, headers
            )

        client.publish = astray  # type: ignore[method-assign, assignment]
        outcomes = await publish_each(client, b"1", b"2", b"3")
        assert outcomes == [Published(1, duplicate=False), Published(2, duplicate=True), Published(3, duplicate=False)]
        assert sent == [b"1", b"2", b"3", b"2"]
        assert (await client.jetstream().stream_info("INGEST")).state.messages == 3


async def test_messages_of_one_go_wait_for_their_stream_together(bare_nats: NatsServer) -> None:
    async with client_of(bare_nats.url) as client:
        begun = time.monotonic()
        outcomes = await publish_each(client, b"1", b"2", timeout_seconds=1.0)
        assert [str(outcome)[:15] for outcome in outcomes] == ["no stream takes"] * 2
        assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
        assert 0.7 < time.monotonic() - begun < 3.0


async def test_one_span_sends_what_goes_together_and_every_message_names_it(nats_broker: NatsServer) -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    async with client_of(nats_broker.url) as client:
        publisher = Publisher(client, provider.get_tracer("test"), timeout_seconds=10.0)
        await publisher.publish_each(SUBJECT, [Outgoing(b"{}", name, {}) for name in "ab"], tenant="default")
        [sending] = spans.get_finished_spans()
        assert (sending.attributes or {})["messaging.batch.message_count"] == 2
        stored = [await client.jetstream().get_msg("INGEST", place) for place in (1, 2)]
        named = {(message.headers or {})["traceparent"].split("-")[2] for message in stored}
        assert named == {format_span_id(sending.context.span_id)}
