"""Ends a process whose event loop stands still, after writing down where.

A thread counts its own ticks since the loop last ran. A clock would also count the time in which the whole process was
stopped or the machine slept, after which the loop may well go on. Code that holds the interpreter lock holds the thread
as well: that is slow, not stuck, and only the liveness probe from outside sees it. The embedded index engine does so
for up to seconds in `update`, `flush` and `optimize`.
"""

import asyncio
import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

TICK_SECONDS: Final = 0.5
EXIT_LOOP_FROZEN: Final = 71


class LoopWatchdog:
    """Watches the loop that starts it; `end` is called, on the thread, when it stood still for `bound_seconds`.

    `note_lag` hears twice a second how much later (seconds) than asked for the loop woke up.
    """

    def __init__(
        self, bound_seconds: float, end: Callable[[], None], note_lag: Callable[[float], None] = lambda _seconds: None
    ) -> None:
        self._allowed_ticks = max(2, round(bound_seconds / TICK_SECONDS))
        self._end = end
        self._note_lag = note_lag
        self._ticks = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="loop-watchdog", daemon=True)

    async def run(self) -> None:
        """Tell the thread again and again that the loop runs, until cancelled."""
        self._thread.start()
        try:
            while True:
                self._ticks = 0
                due = time.monotonic() + TICK_SECONDS
                await asyncio.sleep(TICK_SECONDS)
                self._note_lag(max(0.0, time.monotonic() - due))
        finally:
            self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.is_set():
            time.sleep(TICK_SECONDS)
            self._ticks += 1
            if self._ticks > self._allowed_ticks and not self._stopped.is_set():
                self._end()
                return


def end_frozen_process() -> None:
    """Write the stack of every thread to standard error and end the process with 71; its supervisor starts anew."""
    sys.stderr.write(f"event loop frozen: the process ends with {EXIT_LOOP_FROZEN}; the stacks of its threads follow\n")
    faulthandler.dump_traceback(all_threads=True)
    os._exit(EXIT_LOOP_FROZEN)
