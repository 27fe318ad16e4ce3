"""How far the consumers have come that write the database and the index."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from nats.aio.client import Client
from nats.errors import Error as NatsError

from contracts.topology import CLEANUP, INTAKE, PERSISTENCE, Consumer
from shared.errors import Unavailable

POLL_SECONDS: Final = 0.1
# What intake has seen leads to facts, and these to others that the clean-up follows.
_IN_ORDER: Final = (INTAKE, PERSISTENCE, CLEANUP)


class NatsProgress:
    """Every call raises Unavailable when the broker does not answer."""

    def __init__(self, client: Client) -> None:
        self._jetstream = client.jetstream()

    async def recorded(self) -> int:
        """Return the revision up to which intake has seen every message."""
        with _answering():
            last = await self._last(INTAKE)
            done = await self._done(INTAKE)
        return last if done is None else min(last, done)

    async def caught_up(self, patience_seconds: float) -> bool:
        """Wait until everything that was on its way at the call has arrived; false when that takes too long."""
        until = time.monotonic() + patience_seconds
        with _answering():
            for consumer in _IN_ORDER:
                last = await self._last(consumer)
                while (done := await self._done(consumer)) is not None and done < last:
                    if time.monotonic() > until:
                        return False
                    # Nobody tells when a consumer has come so far.
                    await asyncio.sleep(POLL_SECONDS)
        return True

    async def _last(self, consumer: Consumer) -> int:
        return int((await self._jetstream.stream_info(consumer.stream)).state.last_seq)

    async def _done(self, consumer: Consumer) -> int | None:
        """Return up to where everything is acknowledged, None when nothing is left."""
        info = await self._jetstream.consumer_info(consumer.stream, consumer.name)
        if not info.num_pending and not info.num_ack_pending:
            return None
        return int(info.ack_floor.stream_seq) if info.ack_floor else 0


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except (NatsError, TimeoutError) as error:
        raise Unavailable(f"the broker does not answer: {type(error).__name__}") from error
