"""Writes of many callers, combined into few calls on one writer thread."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, Protocol, TypeVar


class Weighed(Protocol):
    """A write that knows how many points it touches."""

    @property
    def weight(self) -> int:
        """The number of points, at least 1."""
        ...


WriteT = TypeVar("WriteT", bound=Weighed)


class WriteQueue(Generic[WriteT]):
    """Applies writes in the order of their submission; each submitter waits until its own write is in.

    `apply` runs on `thread` with writes of at most `max_batch_weight` together (or one heavier write). The queue
    holds one write per waiting submitter, so it is bounded by whoever bounds those.
    """

    def __init__(self, apply: Callable[[Sequence[WriteT]], None], thread: Executor, max_batch_weight: int) -> None:
        self._apply = apply
        self._thread = thread
        self._max_batch_weight = max_batch_weight
        self._waiting: deque[tuple[WriteT, asyncio.Future[None]]] = deque()
        self._drain: asyncio.Task[None] | None = None

    def submit(self, write: WriteT) -> asyncio.Future[None]:
        """Return a future that is done once the write is in, or holds what `apply` raised for it.

        Cancelling it does not recall the write.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((write, done))
        if self._drain is None or self._drain.done():
            self._drain = asyncio.create_task(self._drain_waiting())
        return done

    async def join(self) -> None:
        """Return once everything that was submitted is settled."""
        while self._drain is not None and not self._drain.done():
            await asyncio.wait([self._drain])

    async def _drain_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = self._take()
            outcomes = await loop.run_in_executor(self._thread, self._apply_batch, [write for write, _ in batch])
            for (_, done), error in zip(batch, outcomes, strict=True):
                _settle(done, error)

    def _take(self) -> list[tuple[WriteT, asyncio.Future[None]]]:
        batch = [self._waiting.popleft()]
        weight = batch[0][0].weight
        while self._waiting and weight + self._waiting[0][0].weight <= self._max_batch_weight:
            batch.append(self._waiting.popleft())
            weight += batch[-1][0].weight
        return batch

    def _apply_batch(self, writes: Sequence[WriteT]) -> list[Exception | None]:
        try:
            self._apply(writes)
        except Exception as error:
            # One bad write must not fail its neighbours; writes are idempotent, so a second try alone does no harm.
            return [error] if len(writes) == 1 else [self._apply_batch([write])[0] for write in writes]
        return [None] * len(writes)


def _settle(done: asyncio.Future[None], error: Exception | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
