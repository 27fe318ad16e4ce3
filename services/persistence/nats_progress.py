"""How far the consumers have come that write the database and the index."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from nats.aio.client import Client
from nats.errors import Error as NatsError

from contracts.topology import (
    ADVISORIES,
    CLEANUP,
    DEAD_LETTERS,
    EMBEDDER,
    INTAKE,
    PARSER,
    PERSISTENCE,
    RETRIEVER,
    Consumer,
)
from services.persistence.unfinished import Reached
from shared.errors import Unavailable

POLL_SECONDS: Final = 0.1
# What intake has seen leads to facts, and these to others that the clean-up follows.
_IN_ORDER: Final = (INTAKE, PERSISTENCE, CLEANUP)
# The way of a document behind the parser; one that is given up on it is told of by its dead letter.
_BEHIND_THE_PARSER: Final = (EMBEDDER, RETRIEVER, ADVISORIES, DEAD_LETTERS, PERSISTENCE)


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
        return await self._through(_IN_ORDER, patience_seconds)

    async def worked_off(self, patience_seconds: float) -> bool:
        """Wait until what the parser put out before the call has come to its end; false when that takes too long."""
        return await self._through(_BEHIND_THE_PARSER, patience_seconds)

    async def reached(self) -> Reached:
        """Return how far INGEST is worked off."""
        with _answering():
            info = await self._jetstream.stream_info(PARSER.stream)
            done = await self._done(PARSER)
        last = int(info.state.last_seq)
        return Reached(first=info.config.first_seq or 1, parsed=last if done is None else min(last, done))

    async def _through(self, consumers: Sequence[Consumer], patience_seconds: float) -> bool:
        until = time.monotonic() + patience_seconds
        with _answering():
            for consumer in consumers:
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
