"""A lane past the durable consumer, for tenants whose documents wait behind somebody else's.

The durable gives out documents in the order they came. While it works through one tenant's thousands, the lane looks
who else waits, reads their messages out of the middle of the stream, and has them handled as the durable would. It
changes nothing in the stream: the message still comes by the durable, and what fails here is left to it.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

from contracts.topology import Consumer
from shared.errors import Retryable
from shared.logs import get_logger
from shared.messaging.delivery import Delivery
from shared.messaging.early_work import EarlyWork
from shared.messaging.lane_cursors import LaneCursors

log = get_logger(__name__)

PAUSE_AFTER_FAILURE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Position:
    """How far the durable is: the last sequence it gave out, the last below which all is settled, and what is left."""

    delivered: int
    settled: int
    waiting: int


@dataclass(frozen=True, slots=True)
class WaitingMessage:
    """A message that the durable has not given out; `published_at` in unix seconds."""

    tenant: str
    subject: str
    sequence: int
    headers: Mapping[str, str]
    payload: bytes
    published_at: float

    def as_delivery(self, consumer: Consumer) -> Delivery:
        """Return the message as the consumer's handler knows it, of no delivery yet."""
        return Delivery(
            subject=self.subject,
            headers=self.headers,
            stream=consumer.stream,
            consumer=consumer.name,
            sequence=self.sequence,
            deliveries=0,
            published_at=self.published_at,
            payload=self.payload,
        )


class Backlog(Protocol):
    """What waits in the stream behind the durable; Retryable when it cannot be read."""

    async def position(self) -> Position:
        """Return where the durable is."""

    async def tenants(self) -> Mapping[str, int]:
        """Return how many messages the stream holds of each tenant, also those that are in work."""

    async def next_of(self, tenant: str, after: int) -> WaitingMessage | None:
        """Return a tenant's first message after a sequence, or None."""


@dataclass(frozen=True, slots=True)
class Work:
    """What the lane works with: how to `handle` one message, whose turn is next, and who counts outcomes."""

    handle: Callable[[WaitingMessage], Awaitable[None]]
    next_of: Callable[[list[str]], str]
    outcome: Callable[[str], None]


class FairLane:
    """Handles messages early, at most `at_once`, and of one tenant all but one: the last place is for another."""

    def __init__(self, backlog: Backlog, work: Work, early: EarlyWork, *, at_once: int, look_seconds: float) -> None:
        self._backlog, self._work, self._early = backlog, work, early
        self._at_once, self._look_seconds = at_once, look_seconds
        self._cursors = LaneCursors()
        self._of_one_tenant = max(1, at_once - 1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_work: Counter[str] = Counter()

    async def run(self, stopping: asyncio.Event) -> None:
        """Look and work until the process stops; nothing is asked of the broker while nothing is in hand."""
        try:
            while not stopping.is_set():
                if self._early.is_busy:
                    await self._look_and_work(stopping)
                with suppress(TimeoutError):
                    await asyncio.wait_for(stopping.wait(), self._look_seconds)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _look_and_work(self, stopping: asyncio.Event) -> None:
        try:
            position = await self._backlog.position()
            self._early.delivered(position.delivered)
            self._early.settled(position.settled)
            if position.waiting:
                self._cursors.see(position.delivered, await self._backlog.tenants())
                await self._work_for(self._look_seconds, stopping)
        except Retryable as error:
            log.warning("fair_lane_blind", reason=error)
        except Exception as error:  # The boundary: documents still come by the durable, only not past one another.
            log.error("fair_lane_fault", exc_info=error)

    async def _work_for(self, seconds: float, stopping: asyncio.Event) -> None:
        """Take messages until nobody waits or it is time to look again."""
        clock = asyncio.get_running_loop().time
        until = clock() + seconds
        while (left := until - clock()) > 0 and not stopping.is_set():
            if len(self._tasks) < self._at_once and await self._take_one():
                continue
            if not self._tasks:
                return
            await asyncio.wait(self._tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED)

    async def _take_one(self) -> bool:
        """Start on the next message of whoever had least; False when nobody waits."""
        now = asyncio.get_running_loop().time()
        tenants = [
            tenant
            for tenant in self._cursors.waiting(now)
            if self._in_work[tenant] < self._of_one_tenant and not self._early.is_served(tenant)
        ]
        if not tenants:
            return False
        tenant = self._work.next_of(tenants)
        message = await self._backlog.next_of(tenant, self._cursors.after(tenant))
        if message is None:
            self._cursors.nothing_left(tenant)
            return True
        self._cursors.took(tenant, message.sequence)
        if message.sequence not in self._early:
            self._in_work[tenant] += 1
            task = asyncio.create_task(self._handle(message))
            self._tasks.add(task)
            task.add_done_callback(partial(self._ended, tenant))
        return True

    async def _handle(self, message: WaitingMessage) -> None:
        """Handle one message; whatever goes wrong is the durable's to judge when the message comes to it."""
        try:
            with self._early.in_work(message.sequence):
                await self._work.handle(message)
                self._early.did(message.sequence)
        except Retryable as error:
            again_at = asyncio.get_running_loop().time() + PAUSE_AFTER_FAILURE_SECONDS
            self._cursors.failed(message.tenant, message.sequence, again_at)
            self._left(message, error)
        except Exception as error:  # The boundary: the durable brings the message, and a failure is judged there.
            self._left(message, error)
        else:
            self._work.outcome("done")

    def _ended(self, tenant: str, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._in_work -= Counter((tenant,))

    def _left(self, message: WaitingMessage, error: Exception) -> None:
        self._work.outcome("left")
        log.info("left_to_the_durable", sequence=message.sequence, reason=error)


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run work beside the block and end it with the block."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
