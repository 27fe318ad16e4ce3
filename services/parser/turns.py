"""Turns at the queue of chunks: a batch is queued when there is room and when it is its tenant's turn."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from services.parser.fair_share import FairShare
from shared.errors import Overloaded

Look = Callable[[], Awaitable[float]]
_Waiter = tuple[int, asyncio.Future[None]]


class Turns:
    """Lets batches pass, the tenant that had least first, while `look` finds room (bytes) in the queue.

    Nothing is asked while nobody waits. A wait has no limit of its own: it ends with its turn or with the process.
    """

    def __init__(self, look: Look, *, look_seconds: float, waited: Callable[[float], None] = lambda _: None) -> None:
        self._look, self._look_seconds, self._waited = look, look_seconds, waited
        self._share = FairShare()
        self._waiting: dict[str, deque[_Waiter]] = {}
        self._room = 0.0
        self._looked_at = float("-inf")
        self._granting: asyncio.Task[None] | None = None
        self._closed = False

    async def take(self, tenant: str, size_bytes: int) -> None:
        """Return when a batch of this size may be queued; Overloaded when the process stops first."""
        if self._closed:
            raise _stopping()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append((size_bytes, turn))
        if self._granting is None or self._granting.done():
            self._granting = asyncio.create_task(self._grant_while_somebody_waits())
        began_at = asyncio.get_running_loop().time()
        await turn
        self._waited(asyncio.get_running_loop().time() - began_at)

    def next_of(self, tenants: list[str]) -> str:
        """Return the tenant that had least so far."""
        return self._share.next_of(tenants)

    def close(self) -> None:
        """Send everybody away who waits; may be called again."""
        self._closed = True
        if self._granting is not None:
            self._granting.cancel()
        self._send_away(_stopping())

    async def _grant_while_somebody_waits(self) -> None:
        try:
            await self._grant_with_room()
        except Exception as error:  # Nobody awaits this task: whoever waits for a turn must hear of it.
            self._send_away(error)

    async def _grant_with_room(self) -> None:
        clock = asyncio.get_running_loop().time
        while self._somebody_waits():
            age = clock() - self._looked_at
            if age < self._look_seconds and self._room <= 0:
                await asyncio.sleep(self._look_seconds - age)
            elif age >= self._look_seconds:
                self._looked_at = clock()
                self._room = await self._look()
            else:
                self._grant()

    def _send_away(self, error: Exception) -> None:
        for _, turn in (waiter for line in self._waiting.values() for waiter in line):
            if not turn.done():
                turn.set_exception(error)
        self._waiting.clear()

    def _somebody_waits(self) -> bool:
        for tenant, line in list(self._waiting.items()):
            while line and line[0][1].done():
                line.popleft()
            if not line:
                del self._waiting[tenant]
        return bool(self._waiting)

    def _grant(self) -> None:
        tenant = self._share.next_of(self._waiting)
        size_bytes, turn = self._waiting[tenant].popleft()
        self._share.spend(tenant, size_bytes)
        self._room -= size_bytes
        turn.set_result(None)


def _stopping() -> Overloaded:
    return Overloaded("the parser stops before the queue behind it has room")
