"""Asking other services, with a little patience for one that is just restarting."""

import asyncio
import time
from typing import Final, Protocol, TypeVar

from contracts.messages import Message
from shared.errors import Retryable

A = TypeVar("A", bound=Message)

RETRY_SECONDS: Final = 0.5


class Ask(Protocol):
    """Sends a request and returns its reply; raises shared.errors, `deadline` is unix seconds."""

    async def __call__(self, subject: str, request: Message, reply: type[A], *, deadline: float | None = None) -> A:
        """Return the reply."""
        ...


class PatientAsk:
    """Asks again while the other side is away or full, for `patience_seconds` and within the deadline.

    A service that is there but slow is not asked twice: the first request waits for it as long as requests wait.
    """

    def __init__(self, ask: Ask, *, patience_seconds: float, retry_seconds: float = RETRY_SECONDS) -> None:
        self._ask = ask
        self._patience_seconds = patience_seconds
        self._retry_seconds = retry_seconds

    async def __call__(self, subject: str, request: Message, reply: type[A], *, deadline: float | None = None) -> A:
        """Return the reply; raises the last error when patience or time is over."""
        until = min(time.time() + self._patience_seconds, deadline or float("inf"))
        while True:
            try:
                return await self._ask(subject, request, reply, deadline=deadline)
            except Retryable:
                if time.time() + self._retry_seconds > until:
                    raise
                await asyncio.sleep(self._retry_seconds)
