"""The time that an ending process may take."""

import asyncio
import threading
import time

import pytest

from shared.ending import EXIT_NOT_ENDED, Ending, LastBound

PATIENCE_SECONDS = 10.0


async def test_what_ends_in_time_is_waited_for_and_the_rest_is_returned_still_running() -> None:
    ending = Ending(0.2)
    quick, slow = asyncio.create_task(asyncio.sleep(0.01)), asyncio.create_task(asyncio.sleep(60))
    ending.begin()
    assert await ending.wait_for([quick, slow]) == {slow}
    assert quick.done()
    assert not slow.cancelled(), "cutting off is the caller's to do"
    slow.cancel()


async def test_all_who_wait_share_one_bound() -> None:
    ending = Ending(0.3)
    ending.begin()
    began = time.monotonic()
    for _ in range(3):
        await ending.wait_for([task := asyncio.create_task(asyncio.sleep(60))])
        task.cancel()
    assert 0.3 <= time.monotonic() - began < 0.6
    assert ending.remaining_seconds == 0


async def test_the_clock_starts_once() -> None:
    ending = Ending(60)
    assert ending.remaining_seconds == 60
    assert ending.begin()
    left = ending.remaining_seconds
    assert not ending.begin()
    assert ending.remaining_seconds <= left


async def test_a_hurry_ends_every_wait_at_once() -> None:
    ending = Ending(60)
    ending.begin()
    task = asyncio.create_task(asyncio.sleep(60))
    asyncio.get_running_loop().call_later(0.05, ending.hurry)
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await ending.wait_for([task]) == {task}
        assert await ending.wait_for([task]) == {task}
    task.cancel()


@pytest.mark.parametrize(("closes", "code"), [(True, 0), (False, EXIT_NOT_ENDED)])
def test_the_last_bound_ends_what_does_not_end(closes: bool, code: int) -> None:
    codes: list[int] = []
    ended = threading.Event()

    def end(found: int) -> None:
        codes.append(found)
        ended.set()

    bound = LastBound(0.5, end=end)
    bound.start()
    bound.start()
    if closes:
        bound.closed()
    assert ended.wait(PATIENCE_SECONDS)
    assert codes == [code]


def test_the_last_bound_is_for_those_who_were_asked_to_end() -> None:
    codes: list[int] = []
    LastBound(0.25, end=codes.append).closed()
    time.sleep(0.6)  # The time itself is what is tested.
    assert codes == []
