"""How far a durable consumer has come with its stream."""

import asyncio
from dataclasses import dataclass

from nats.aio.client import Client
from nats.errors import Error as NatsError

from contracts.topology import Consumer
from shared.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Standing:
    """Every message up to `done` is worked off; `last` was the stream's last one when the looking began."""

    done: int
    last: int


class StreamProgress:
    """Looks at one consumer."""

    def __init__(self, client: Client, consumer: Consumer, *, timeout_seconds: float) -> None:
        self._consumer = consumer
        self._jetstream = client.jetstream()
        self._timeout_seconds = timeout_seconds

    async def look(self) -> Standing:
        """Return where the consumer stands; Unavailable when the broker does not tell."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                # In this order: what comes in between is not taken for done.
                last = (await self._jetstream.stream_info(self._consumer.stream)).state.last_seq
                info = await self._jetstream.consumer_info(self._consumer.stream, self._consumer.name)
        except (NatsError, TimeoutError) as error:
            raise Unavailable(f"the broker does not tell what is recorded: {type(error).__name__}") from error
        floor = info.ack_floor.stream_seq if info.ack_floor is not None else 0
        # The floor is the last message of its own; behind it may be others that are none of its business.
        return Standing(last if not info.num_pending and not info.num_ack_pending else floor, last)
