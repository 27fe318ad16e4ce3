"""Writes of many callers on one thread."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from services.retriever.write_queue import WriteQueue


@dataclass(frozen=True, slots=True)
class Write:
    name: str
    weight: int = 1


class Log:
    """Takes down what is applied; holds every batch back until `open` is set, and fails those with a bad write."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.open = threading.Event()

    def apply(self, writes: Sequence[Write]) -> None:
        self.open.wait(timeout=5)
        self.batches.append([write.name for write in writes])
        if any(write.name == "bad" for write in writes):
            raise ValueError("bad write")


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


async def test_writes_that_wait_together_go_in_together_and_in_order(thread: ThreadPoolExecutor) -> None:
    log = Log()
    queue = WriteQueue(log.apply, thread, max_batch_weight=4)
    waiting = [queue.submit(Write(name)) for name in "abcdefg"]
    log.open.set()
    await asyncio.gather(*waiting)

    assert log.batches == [["a", "b", "c", "d"], ["e", "f", "g"]]


async def test_a_batch_stays_within_its_weight_and_a_heavier_write_goes_alone(thread: ThreadPoolExecutor) -> None:
    log = Log()
    log.open.set()
    queue = WriteQueue(log.apply, thread, max_batch_weight=4)
    await asyncio.gather(*(queue.submit(each) for each in (Write("a", 3), Write("b", 2), Write("c", 9), Write("d"))))

    assert log.batches == [["a"], ["b"], ["c"], ["d"]]


async def test_a_bad_write_fails_alone(thread: ThreadPoolExecutor) -> None:
    log = Log()
    log.open.set()
    queue = WriteQueue(log.apply, thread, max_batch_weight=4)
    outcomes = await asyncio.gather(*(queue.submit(Write(name)) for name in ("a", "bad", "c")), return_exceptions=True)

    assert [str(outcome) for outcome in outcomes] == ["None", "bad write", "None"]
    assert log.batches[1:] == [["a"], ["bad"], ["c"]]


async def test_a_cancelled_caller_does_not_hold_up_the_others(thread: ThreadPoolExecutor) -> None:
    log = Log()
    queue = WriteQueue(log.apply, thread, max_batch_weight=1)
    first, second = queue.submit(Write("a")), queue.submit(Write("b"))
    first.cancel()
    log.open.set()
    await second

    assert first.cancelled()
    assert log.batches == [["a"], ["b"]]


async def test_joining_waits_for_everything_that_was_submitted(thread: ThreadPoolExecutor) -> None:
    log = Log()
    log.open.set()
    queue = WriteQueue(log.apply, thread, max_batch_weight=1)
    waiting = [queue.submit(Write(name)) for name in "abc"]
    await queue.join()

    assert all(each.done() for each in waiting)
