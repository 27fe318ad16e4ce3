"""Whose turn it is when there is more to do than can be done: those who have read nothing yet come first.

An answer whose text is complete still has its sources to be told and its turn to be kept. While others are on the way
to their first words, that can wait a moment: their readers see an empty page, its reader has something to read.
An answer that waits for the language model costs nothing here and is not waited for.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Turn:
    """One answer's place: ahead of others until it has said something, then beside them, then (with `end`) ending."""

    def __init__(self, queue: "FirstWords") -> None:
        self._queue = queue
        self._silent = True
        self._ahead = self._ending = False
        self._step_up()

    def spoke(self) -> None:
        """Take note that its reader has something to read."""
        self._silent = False
        self._step_aside()

    @contextmanager
    def waiting_for_model(self) -> Iterator[None]:
        """Let others pass while the block runs: the next words are up to the language model."""
        self._step_aside()
        try:
            yield
        finally:
            if self._silent:
                self._step_up()

    async def end(self) -> None:
        """Return once what is left to do for it may be done."""
        self.spoke()
        if not self._ending:
            await self._queue.wait_to_end()
            self._ending = True

    def close(self) -> None:
        """Give the place to others."""
        self.spoke()
        if self._ending:
            self._ending = False
            self._queue.leave_ending()

    def _step_up(self) -> None:
        self._ahead = True
        self._queue.enter_ahead()

    def _step_aside(self) -> None:
        if self._ahead:
            self._ahead = False
            self._queue.leave_ahead()


class FirstWords:
    """Has answers end, in the order they came, only while fewer than `together` are ahead of them or ending.

    None waits longer than `seconds`, whatever the others do.
    """

    def __init__(self, *, together: int, seconds: float) -> None:
        self._together = together
        self._seconds = seconds
        self._ahead = 0
        self._ending = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        """Give one answer a place for as long as the block runs."""
        turn = Turn(self)
        try:
            yield turn
        finally:
            turn.close()

    def enter_ahead(self) -> None:
        """Take note that one answer more goes ahead of those that end."""
        self._ahead += 1

    def leave_ahead(self) -> None:
        """Take note that one answer fewer goes ahead of those that end."""
        self._ahead -= 1
        self._admit()

    def leave_ending(self) -> None:
        """Take note that an answer is done."""
        self._ending -= 1
        self._admit()

    async def wait_to_end(self) -> None:
        """Return once one more answer may end, and count it as one that does."""
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        self._admit()
        try:
            await asyncio.wait([place], timeout=self._seconds)
        except asyncio.CancelledError:
            if place.done():
                self.leave_ending()
            else:
                self._waiting.remove(place)
            raise
        if not place.done():
            self._waiting.remove(place)
            self._ending += 1

    def _admit(self) -> None:
        while self._waiting and self._ahead + self._ending < self._together:
            self._ending += 1
            self._waiting.popleft().set_result(None)
