"""Two lanes in front of a model that computes in this process: interactive before bulk.

A slice is one text. Bulk calls are served in the order they came, the longest text of a call first so that the
threads end together; interactive calls take turns, one text each, so that a single query passes a long request.
The lanes share nothing but the cores, and bulk threads yield those to every other thread of the process.
"""

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from services.embedder.embedding import (
    DeadlineExpired,
    EmbeddingModel,
    EmbeddingUnavailable,
    Overloaded,
    Vectors,
    checked_vectors,
    until,
)


class _Call:
    """One caller's texts: the rows that wait, and the vectors found so far."""

    def __init__(self, texts: list[str], dimension: int, deadline: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._unfinished = len(texts)
        self._error: Exception | None = None
        self.texts = texts
        self.deadline = deadline
        self.vectors: Vectors = np.empty((len(texts), dimension), np.float32)
        self.waiting: deque[int] = deque()
        self.ended = asyncio.Event()
        if not texts:
            self.ended.set()

    def finish_row(self) -> None:
        self._unfinished -= 1
        if not self._unfinished:
            self.ended.set()

    def fail(self, error: Exception) -> None:
        self._error = self._error or error
        self.ended.set()

    async def result(self) -> Vectors:
        await self.ended.wait()
        if self._error is not None:
            raise self._error
        return self.vectors

    def tell(self, action: Callable[..., object], *arguments: object) -> None:
        # A loop that has closed has nobody left who waits.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(action, *arguments)


class _Lane:
    """A queue of slices and the threads that compute them; `on_taken` is told, on the loop, of each that leaves."""

    def __init__(
        self,
        name: str,
        model: EmbeddingModel,
        clock: Callable[[], float],
        *,
        threads: int,
        taking_turns: bool,
        hurries_alone: bool = False,
        niceness: int = 0,
        on_taken: Callable[[], None] | None = None,
    ) -> None:
        self._model, self._clock = model, clock
        self._taking_turns, self._niceness, self._on_taken = taking_turns, niceness, on_taken
        self._hurries_alone = hurries_alone
        self._changed = threading.Condition()
        self._calls: deque[_Call] = deque()
        self._waiting = self._computing = 0
        self._stopped = False
        self._threads = [
            threading.Thread(target=self._work, name=f"embed-{name}-{number}", daemon=True) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        return self._waiting

    def put(self, call: _Call, rows: Sequence[int]) -> None:
        with self._changed:
            if rows and not call.waiting:
                self._calls.append(call)
            call.waiting.extend(rows)
            self._waiting += len(rows)
            self._changed.notify(len(rows))

    def drop(self, call: _Call) -> int:
        """Forget the slices of a call that have not started, and return how many there were."""
        with self._changed:
            dropped = len(call.waiting)
            if dropped:
                self._calls.remove(call)
                call.waiting.clear()
                self._waiting -= dropped
            return dropped

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def join(self, until_monotonic: float) -> None:
        for thread in self._threads:
            thread.join(max(0.0, until_monotonic - time.monotonic()))

    def _take(self) -> tuple[_Call, int, bool] | None:
        """Return the next slice, and whether nothing else of this lane waits or computes."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._calls)
            if self._stopped:
                return None
            call = self._calls.popleft()
            row = call.waiting.popleft()
            if call.waiting:
                (self._calls.append if self._taking_turns else self._calls.appendleft)(call)
            self._waiting -= 1
            self._computing += 1
            return call, row, self._hurries_alone and not self._calls and self._computing == 1

    def _work(self) -> None:
        _lower_priority(self._niceness)
        while (taken := self._take()) is not None:
            call, row, alone = taken
            if self._on_taken is not None:
                call.tell(self._on_taken)
            self._compute(call, row, alone=alone)
            with self._changed:
                self._computing -= 1

    def _compute(self, call: _Call, row: int, *, alone: bool) -> None:
        if call.ended.is_set():
            return
        if call.deadline is not None and self._clock() > call.deadline:
            call.tell(call.fail, DeadlineExpired("the deadline passed while the texts waited for their turn"))
            return
        try:
            vector = self._model.embed(call.texts[row], alone=alone)
            call.vectors[row] = checked_vectors(vector, (self._model.dimension,))
        except Exception as error:
            call.tell(call.fail, error)
        else:
            call.tell(call.finish_row)


class Lanes:
    """An `Embedder` over a model in this process; threads start at once and end with `close`.

    A query waits for other queries only. `max_waiting_slices` bounds what waits in the bulk lane: callers beyond it
    wait for room. `max_waiting_queries` bounds the interactive lane: texts beyond it raise Overloaded.
    `bulk_threads` defaults to the cores this process may use.
    """

    def __init__(
        self,
        model: EmbeddingModel,
        *,
        bulk_threads: int | None = None,
        interactive_threads: int = 1,
        bulk_niceness: int = 10,
        max_waiting_slices: int = 256,
        max_waiting_queries: int = 256,
        close_timeout_seconds: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._model, self._clock = model, clock
        self._max_waiting_queries, self._close_timeout_seconds = max_waiting_queries, close_timeout_seconds
        self._feeding, self._room = asyncio.Lock(), asyncio.Semaphore(max_waiting_slices)
        self._calls: set[_Call] = set()
        self._closed = False
        self._interactive = _Lane(
            "interactive", model, clock, threads=interactive_threads, taking_turns=True, hurries_alone=True
        )
        self._bulk = _Lane(
            "bulk",
            model,
            clock,
            threads=bulk_threads or usable_cores(),
            taking_turns=False,
            niceness=bulk_niceness,
            on_taken=self._room.release,
        )

    @property
    def dimension(self) -> int:
        return self._model.dimension

    @property
    def fingerprint(self) -> str:
        return self._model.fingerprint

    @property
    def max_tokens(self) -> int:
        return self._model.max_tokens

    @property
    def waiting_slices(self) -> int:
        """Texts that wait in the bulk lane."""
        return self._bulk.waiting

    @property
    def waiting_queries(self) -> int:
        """Texts that wait in the interactive lane."""
        return self._interactive.waiting

    async def embed_passages(
        self, texts: Sequence[str], *, deadline: float | None = None, interactive: bool = False
    ) -> Vectors:
        """Return one vector per passage; see `Embedder`."""
        lane = self._interactive if interactive else self._bulk
        return await self._run(lane, [self._model.passage_prefix + text for text in texts], deadline)

    async def embed_queries(self, texts: Sequence[str], *, deadline: float | None = None) -> Vectors:
        """Return one vector per query; see `Embedder`."""
        return await self._run(self._interactive, [self._model.query_prefix + text for text in texts], deadline)

    async def close(self) -> None:
        """Fail every open call and stop the threads; one that computes beyond the timeout ends with the process."""
        self._closed = True
        for call in self._calls:
            call.fail(_shutting_down())
        for lane in (self._interactive, self._bulk):
            lane.stop()
        # The call that waits for room must wake to see that it has failed.
        self._room.release()
        await asyncio.to_thread(self._join)

    async def _run(self, lane: _Lane, prepared: list[str], deadline: float | None) -> Vectors:
        if self._closed:
            raise _shutting_down()
        call = _Call(prepared, self.dimension, deadline)
        self._calls.add(call)
        try:
            async with until(deadline, self._clock):
                await (self._feed(call) if lane is self._bulk else self._admit(call))
                return await call.result()
        finally:
            self._calls.discard(call)
            self._withdraw(lane, call)

    async def _admit(self, call: _Call) -> None:
        room = self._max_waiting_queries - self._interactive.waiting
        if len(call.texts) > room:
            raise Overloaded(
                f"{len(call.texts)} texts do not fit the interactive lane: {max(room, 0)} of "
                f"{self._max_waiting_queries} places are free; send fewer at once or try again"
            )
        self._interactive.put(call, range(len(call.texts)))

    async def _feed(self, call: _Call) -> None:
        longest_first = sorted(range(len(call.texts)), key=lambda row: -len(call.texts[row]))
        # One call feeds at a time, so that calls keep their order whatever their size.
        async with self._feeding:
            for row in longest_first:
                await self._room.acquire()
                if call.ended.is_set():
                    self._room.release()
                    return
                self._bulk.put(call, [row])

    def _withdraw(self, lane: _Lane, call: _Call) -> None:
        dropped = lane.drop(call)
        if lane is self._bulk:
            for _ in range(dropped):
                self._room.release()

    def _join(self) -> None:
        until_monotonic = time.monotonic() + self._close_timeout_seconds
        for lane in (self._interactive, self._bulk):
            lane.join(until_monotonic)


def _shutting_down() -> EmbeddingUnavailable:
    return EmbeddingUnavailable("the embedder is shutting down; send the texts again to another replica or later")


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _lower_priority(niceness: int) -> None:
    # Linux gives every thread a nice value of its own; elsewhere the call would slow the whole process down.
    if niceness and sys.platform == "linux":
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + niceness))
