"""Sending a text on while it is written: the first piece at once, then no more often than a reader can see."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

Send = Callable[[str], Awaitable[None]]


class Deltas:
    """Gathers pieces and sends them at most every `interval_seconds`; leaving the block sends the rest.

    What `send` raises is raised by the next `add`, or on leaving. At most one answer's text is held.
    """

    def __init__(self, send: Send, *, interval_seconds: float) -> None:
        self._send = send
        self._interval_seconds = interval_seconds
        self._pieces: list[str] = []
        self._more = asyncio.Event()
        self._closing = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Start sending."""
        self._task = asyncio.create_task(self._keep_sending())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Send what is left, also of a text that broke off: whoever tells of that comes behind it."""
        self._closing.set()
        self._more.set()
        if error is not None and not isinstance(error, Exception):
            self._task.cancel()
        await asyncio.wait([self._task])
        if error is None:
            self._task.result()

    def add(self, piece: str) -> None:
        """Take a piece; raises what sending an earlier one raised."""
        if self._task.done():
            self._task.result()
        if piece:
            self._pieces.append(piece)
            self._more.set()

    async def _keep_sending(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            if self._pieces:
                text = "".join(self._pieces)
                self._pieces.clear()
                await self._send(text)
            if self._closing.is_set() and not self._pieces:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), self._interval_seconds)
                self._more.set()
