"""What every durable consumer has before it, and since when, asked of the broker."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from nats.aio.client import Client
from nats.js.api import ConsumerInfo
from nats.js.errors import NotFoundError

from contracts.topology import CONSUMERS, Consumer
from shared.messaging.stored import next_message

_TIMEOUT_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Backlog:
    """Messages of one consumer: not delivered yet, in work, and of those the ones that came more than once.

    `done` counts what it has settled since it was made, `settled` is the last place in the stream below which nothing
    is left, `oldest_at` (unix seconds) when the oldest message behind that was stored; None when there is none.
    """

    consumer: Consumer
    pending: int
    in_work: int
    redelivered: int
    done: int
    settled: int
    oldest_at: float | None = None

    def age_seconds(self, now: float) -> float | None:
        """Return how old the oldest message is at `now` (unix seconds), None when there is none."""
        return None if self.oldest_at is None else max(0.0, now - self.oldest_at)


class NatsBacklogs:
    """Looks at the consumers; every call raises nats.errors.Error or TimeoutError when the broker does not answer."""

    def __init__(self, client: Client) -> None:
        self._jetstream = client.jetstream(timeout=_TIMEOUT_SECONDS)
        self._oldest: dict[str, tuple[int, float]] = {}

    async def look(self) -> list[Backlog]:
        """Return the backlog of every consumer that is there, without ages."""
        found = await asyncio.gather(*(self._look_at(consumer) for consumer in CONSUMERS))
        return [backlog for backlog in found if backlog is not None]

    async def with_ages(self, backlogs: Sequence[Backlog]) -> list[Backlog]:
        """Return the same with `oldest_at`: reads at most one message for each subject that a consumer takes."""
        return [await self._with_age(backlog) for backlog in backlogs]

    async def _look_at(self, consumer: Consumer) -> Backlog | None:
        try:
            info: ConsumerInfo = await self._jetstream.consumer_info(consumer.stream, consumer.name)
        except NotFoundError:
            return None
        floor = info.ack_floor
        return Backlog(
            consumer=consumer,
            pending=info.num_pending or 0,
            in_work=info.num_ack_pending or 0,
            redelivered=info.num_redelivered or 0,
            done=floor.consumer_seq if floor else 0,
            settled=floor.stream_seq if floor else 0,
        )

    async def _with_age(self, backlog: Backlog) -> Backlog:
        name = backlog.consumer.name
        if not backlog.pending and not backlog.in_work:
            self._oldest.pop(name, None)
            return backlog
        known = self._oldest.get(name)
        # One that stands still is not read again: it is the case in which the broker has enough to do.
        if known is None or known[0] != backlog.settled:
            oldest_at = await self._oldest_after(backlog)
            if oldest_at is None:
                return backlog
            self._oldest[name] = known = (backlog.settled, oldest_at)
        return replace(backlog, oldest_at=known[1])

    async def _oldest_after(self, backlog: Backlog) -> float | None:
        found = [
            await next_message(self._jetstream, backlog.consumer.stream, subject, after=backlog.settled)
            for subject in backlog.consumer.filter_subjects
        ]
        stored = [message.time.timestamp() for message in found if message is not None and message.time is not None]
        return min(stored, default=None)
