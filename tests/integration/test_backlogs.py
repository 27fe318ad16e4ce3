"""What waits before a consumer, and since when, on a real broker."""

from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client

from contracts import subjects
from contracts.topology import CONSUMERS
from services.gateway.nats_backlogs import Backlog, NatsBacklogs
from tests.running import client_of
from tests.servers import NatsServer


@pytest.fixture
async def client(nats_broker: NatsServer) -> AsyncIterator[Client]:
    async with client_of(nats_broker.url) as connected:
        yield connected


async def backlogs(broker: NatsBacklogs) -> dict[str, Backlog]:
    return {backlog.consumer.name: backlog for backlog in await broker.with_ages(await broker.look())}


async def stored_at(client: Client, stream: str, sequence: int) -> float:
    message = await client.jetstream().get_msg(stream, seq=sequence)
    assert message.time is not None
    return message.time.timestamp()


async def test_a_backlog_is_as_old_as_its_oldest_message_that_is_not_settled(client: Client) -> None:
    jetstream, broker = client.jetstream(), NatsBacklogs(client)
    for tenant in ("acme", "globex", "initech"):
        await jetstream.publish(subjects.ingest(tenant), b"{}")
    found = await backlogs(broker)
    assert found.keys() == {consumer.name for consumer in CONSUMERS}
    assert (found["parser"].pending, found["parser"].in_work) == (3, 0)
    assert found["parser"].oldest_at == await stored_at(client, "INGEST", 1)
    assert found["agent"].oldest_at is None

    subscription = await jetstream.pull_subscribe_bind("parser", stream="INGEST")
    first, second = await subscription.fetch(2)
    await second.ack()
    assert (await backlogs(broker))["parser"].oldest_at == await stored_at(client, "INGEST", 1)
    await first.ack_sync()
    found = await backlogs(broker)
    assert (found["parser"].pending, found["parser"].in_work) == (1, 0)
    assert found["parser"].oldest_at == await stored_at(client, "INGEST", 3)
    assert found["persistence-intake"].oldest_at == await stored_at(client, "INGEST", 1)

    [third] = await subscription.fetch(1)
    await third.ack_sync()
    assert (await backlogs(broker))["parser"].oldest_at is None


async def test_only_messages_that_the_consumer_takes_count(client: Client) -> None:
    jetstream, broker = client.jetstream(), NatsBacklogs(client)
    for subject in (subjects.DOCUMENT_DELETED, subjects.CHUNKS_INDEXED, subjects.DOCUMENT_PARSED):
        await jetstream.publish(subject, b"{}")
    found = await backlogs(broker)
    assert found["persistence"].oldest_at == await stored_at(client, "FACTS", 2)
    assert found["retriever-cleanup"].oldest_at == await stored_at(client, "FACTS", 1)
