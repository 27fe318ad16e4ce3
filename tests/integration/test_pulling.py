"""How messages are fetched from a durable consumer."""

import asyncio

from contracts import subjects
from contracts.topology import EMBEDDER
from shared.messaging.pulling import ContinuousPull
from tests.running import client_of
from tests.servers import NatsServer

LONG_SECONDS = 30.0


async def test_a_backlog_is_fetched_in_full_batches_without_lingering(nats_broker: NatsServer) -> None:
    """A fetch that lingered with a full batch held every consumer to 64 messages a second."""
    async with client_of(nats_broker.url) as client:
        jetstream = client.jetstream()
        for number in range(20):
            await jetstream.publish(subjects.CHUNKS_READY, str(number).encode())
        pull = ContinuousPull(await jetstream.pull_subscribe_bind(EMBEDDER.name, stream=EMBEDDER.stream), LONG_SECONDS)
        try:
            async with asyncio.timeout(LONG_SECONDS / 3):
                fetched = [message for _ in range(2) for message in await pull.fetch(10)]
        finally:
            await pull.unsubscribe()

    assert [int(message.data) for message in fetched] == list(range(20))


async def test_a_dense_flow_is_waited_for(nats_broker: NatsServer) -> None:
    async with client_of(nats_broker.url) as client:
        jetstream = client.jetstream()
        await jetstream.publish(subjects.CHUNKS_READY, b"0")
        pull = ContinuousPull(await jetstream.pull_subscribe_bind(EMBEDDER.name, stream=EMBEDDER.stream), LONG_SECONDS)
        try:
            fetching = asyncio.create_task(pull.fetch(3))
            for number in (1, 2):
                await jetstream.publish(subjects.CHUNKS_READY, str(number).encode())
            async with asyncio.timeout(LONG_SECONDS / 3):
                fetched = await fetching
        finally:
            await pull.unsubscribe()

    assert [int(message.data) for message in fetched] == [0, 1, 2]
