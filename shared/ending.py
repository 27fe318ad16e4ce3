"""How long a process that was asked to end may still take: one bound for all that it finishes, and a last one for all.

The bound to finish (`RAG_DRAIN_SECONDS`) begins with the signal and is shared by everything that is waited for; a
second signal uses it up at once. The last bound is watched by a thread, because what holds the end up may be the event
loop.
"""

import asyncio
import faulthandler
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final, NoReturn

from shared.logs import get_logger

log = get_logger(__name__)

# What the end may take beside the bound to finish: fetches that come back, handlers that notice that they were cut off,
# the service's own clean-up, the connection, the last spans.
CLOSING_SECONDS: Final = 15.0
# After an orderly end, how long to wait for a thread that still runs: its result is nobody's any more.
THREADS_SECONDS: Final = 1.0
EXIT_NOT_ENDED: Final = 72
_TICK_SECONDS: Final = 0.25


class Ending:
    """The time that remains to finish what was begun."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: float | None = None
        self._begun = asyncio.Event()
        self._hurried = asyncio.Event()

    @property
    def begun(self) -> asyncio.Event:
        """Return the event that is set as soon as the end begins."""
        return self._begun

    @property
    def remaining_seconds(self) -> float:
        """Return the time left, all of it before the end begins."""
        if self._hurried.is_set():
            return 0.0
        return self._seconds if self._until is None else max(0.0, self._until - time.monotonic())

    def begin(self) -> bool:
        """Start the clock; False when it runs already."""
        if self._begun.is_set():
            return False
        self._until = time.monotonic() + self._seconds
        self._begun.set()
        return True

    def hurry(self) -> None:
        """Use up the time at once."""
        self._hurried.set()

    async def wait_for(self, tasks: Collection[asyncio.Task[Any]]) -> set[asyncio.Task[Any]]:
        """Wait for tasks while there is time; return those that have not ended."""
        if not tasks:
            return set()
        hurried = asyncio.create_task(self._hurried.wait())
        ended = asyncio.gather(*tasks, return_exceptions=True)
        try:
            # Shielded: what has not ended in time is the caller's to cut off.
            waiting: set[asyncio.Future[Any]] = {asyncio.shield(ended), hurried}
            await asyncio.wait(waiting, timeout=self.remaining_seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hurried.cancel()
        return {task for task in tasks if not task.done()}


async def within(seconds: float, step: Awaitable[None], what: str) -> None:
    """Run a step of the end; one that takes too long is given up, and the log says so."""
    try:
        async with asyncio.timeout(seconds):
            await step
    except TimeoutError:
        log.warning("not_closed_in_time", what=what, seconds=seconds)


class LastBound:
    """Ends the process from a thread when it has not ended by itself `seconds` after `start`.

    Time is counted in ticks: while the process is stopped or the machine sleeps it does not run out.
    """

    def __init__(self, seconds: float, *, end: Callable[[int], None] | None = None) -> None:
        self._ticks = max(1, round(seconds / _TICK_SECONDS))
        self._end = end or _end
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to count; may be called again."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="last-bound", daemon=True)
            self._thread.start()

    def closed(self) -> None:
        """Say that all was finished, given back and sent; only threads may still keep the process."""
        self._closed.set()

    def _watch(self) -> None:
        for _ in range(self._ticks):
            if self._closed.wait(_TICK_SECONDS):
                # The thread ends with the process, long before this is over, unless another thread holds it.
                time.sleep(THREADS_SECONDS)
                self._end(0)
                return
        self._end(EXIT_NOT_ENDED)


def _end(code: int) -> NoReturn:
    what = "it had finished, but" if code == 0 else "it has not finished, and"
    sys.stderr.write(f"the process does not end by itself: {what} these threads still run; it ends with {code}\n")
    faulthandler.dump_traceback(all_threads=True)
    os._exit(code)
