"""The events of one answer for one reader: each once, in order, read one at a time as the reader takes them.

An event has a position in the broker's store and stands behind the position of the event before it. What arrives live
is used only where it is the very next one, so neither loss, nor repetition, nor disorder on the way reaches the reader;
anything else is read from the store. Held are a few small events; a reader who is behind reads from the store.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from contracts.codec import DecodeError, decode
from contracts.queries import AnswerEvent
from shared.errors import Unavailable
from shared.logs import get_logger

log = get_logger(__name__)

MAX_HELD_EVENTS: Final = 8
MAX_HELD_BYTES: Final = 16 * 1024
# A replica of the store may be behind the one that has told of the event; each further look waits twice as long.
LAG_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An encoded event and its position in the store."""

    position: int
    data: bytes


ReadNext = Callable[[int], Awaitable[StoredEvent | None]]


class AnswerFeed:
    """What the reader gets next.

    `read` returns the first stored event of the answer behind a position. The feed begins behind `position`; `is_new`
    tells that nothing can be stored there yet. `recheck_seconds` bounds how long a lost notice is not missed.
    """

    def __init__(self, read: ReadNext, *, position: int = 0, is_new: bool = False, recheck_seconds: float) -> None:
        self._read = read
        self._recheck_seconds = recheck_seconds
        self._clock = asyncio.get_running_loop().time
        self._position = self._newest = position
        self._look_at = self._clock() + recheck_seconds if is_new else 0.0
        self._held: deque[StoredEvent] = deque()
        self._news = asyncio.Event()
        self._lag_seconds = LAG_SECONDS
        self.ended = False

    def offer(self, behind: int, live: StoredEvent) -> None:
        """Take an event that arrived live, stored behind the one at position `behind`."""
        end = self._held[-1].position if self._held else self._position
        if behind == end and len(self._held) < MAX_HELD_EVENTS and len(live.data) <= MAX_HELD_BYTES:
            self._held.append(live)
        self._newest = max(self._newest, live.position)
        self._look_at = 0.0
        self._news.set()

    def end(self) -> None:
        """Have the reader go: this process is about to end."""
        self.ended = True
        self._news.set()

    async def next(self, patience_seconds: float) -> AnswerEvent | None:
        """Return the next event; None when none came in time or the feed has ended."""
        until = self._clock() + patience_seconds
        while not self.ended:
            stored = await self._next_stored()
            if stored is None:
                if self._clock() >= until:
                    return None
                await self._wait(min(until, self._look_at))
            elif (event := _event_in(stored)) is not None:
                return event
        return None

    async def _next_stored(self) -> StoredEvent | None:
        self._news.clear()
        found = self._held.popleft() if self._held else await self._look()
        if found is not None:
            self._position = found.position
            while self._held and self._held[0].position <= found.position:
                self._held.popleft()
        return found

    async def _look(self) -> StoredEvent | None:
        """Read from the store, unless nothing says that there is more."""
        if self._clock() < self._look_at:
            return None
        try:
            found = await self._read(self._position)
        except Unavailable:
            found = None
        self._look_at = self._clock() + self._pause_after(found)
        return found

    def _pause_after(self, found: StoredEvent | None) -> float:
        if found is not None:
            self._lag_seconds = LAG_SECONDS
            return self._recheck_seconds if found.position == self._newest else 0.0
        if self._newest <= self._position:
            return self._recheck_seconds
        self._lag_seconds = min(self._lag_seconds * 2, self._recheck_seconds)
        return self._lag_seconds / 2

    async def _wait(self, until: float) -> None:
        try:
            async with asyncio.timeout_at(until):
                await self._news.wait()
        except TimeoutError:
            return


def _event_in(stored: StoredEvent) -> AnswerEvent | None:
    try:
        return decode(AnswerEvent, stored.data)
    except DecodeError as error:
        log.warning("answer_event_not_readable", position=stored.position, reason=error)
        return None
