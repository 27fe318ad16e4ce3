"""How long and with what a publisher tries, on a real broker."""

import asyncio
import time

import pytest
from nats.aio.client import Client
from opentelemetry.trace import NoOpTracer

from shared.errors import Overloaded, Unavailable
from shared.messaging.provisioning import provision
from shared.messaging.publishing import Published, Publisher
from tests.running import client_of
from tests.servers import NatsServer

SUBJECT = "rag.v1.ingest.default"


async def publish(client: Client, timeout_seconds: float, message_id: str = "a") -> Published:
    publisher = Publisher(client, NoOpTracer(), timeout_seconds=timeout_seconds)
    return await publisher.publish_bytes(SUBJECT, b"{}", tenant="default", message_id=message_id, headers={})


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
        request, answers = client.request, 0

        async def lossy(*arguments: object, **options: object) -> object:
            nonlocal answers
            reply = await request(*arguments, **options)  # type: ignore[arg-type]
            answers += 1
            if answers == 1:
                raise TimeoutError
            return reply

        client.request = lossy  # type: ignore[method-assign, assignment]
        published = await publish(client, 10.0)
        assert (published.duplicate, answers) == (True, 2)
        assert (await client.jetstream().stream_info("INGEST")).state.messages == 1


async def test_a_full_stream_refuses_at_once(nats_broker: NatsServer) -> None:
    async with client_of(nats_broker.url) as client:
        jetstream = client.jetstream()
        config = (await jetstream.stream_info("INGEST")).config
        config.max_msgs = 1
        await jetstream.update_stream(config=config)
        await publish(client, 10.0)
        begun = time.monotonic()
        with pytest.raises(Overloaded):
            await publish(client, 30.0, "b")
        assert time.monotonic() - begun < 5.0
