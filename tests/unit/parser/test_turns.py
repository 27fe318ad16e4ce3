"""Turns at the queue of chunks."""

import asyncio
from collections import Counter

import pytest

from services.parser.turns import Turns
from shared.errors import Overloaded

LOOK_SECONDS = 0.01


class Queue:
    """A queue whose room the test sets; counts how often it was asked."""

    def __init__(self, room: float) -> None:
        self.room, self.asked = room, 0

    async def left(self) -> float:
        self.asked += 1
        return self.room


async def test_a_turn_with_room_is_taken_at_once_and_nothing_is_asked_while_nobody_waits() -> None:
    queue = Queue(1_000)
    turns = Turns(queue.left, look_seconds=LOOK_SECONDS)
    await turns.take("acme", 10)
    await asyncio.sleep(10 * LOOK_SECONDS)
    assert queue.asked == 1


async def test_without_room_a_turn_waits_until_there_is_some() -> None:
    queue = Queue(0)
    turns = Turns(queue.left, look_seconds=LOOK_SECONDS)
    waiting = asyncio.create_task(turns.take("acme", 10))
    await asyncio.sleep(5 * LOOK_SECONDS)
    assert not waiting.done()
    queue.room = 1
    await asyncio.wait_for(waiting, 5)


async def test_a_newcomer_passes_those_who_had_more() -> None:
    queue = Queue(10)
    turns = Turns(queue.left, look_seconds=LOOK_SECONDS)
    await turns.take("heavy", 10)
    queue.room = 0
    order: list[str] = []

    async def take(tenant: str) -> None:
        await turns.take(tenant, 10)
        order.append(tenant)

    tasks = [asyncio.create_task(take(tenant)) for tenant in ("heavy", "heavy", "new", "heavy")]
    await asyncio.sleep(3 * LOOK_SECONDS)
    queue.room = 10
    await asyncio.wait_for(asyncio.gather(*tasks), 5)
    assert order[0] == "new"
    assert Counter(order) == {"heavy": 3, "new": 1}


async def test_who_gave_up_waiting_takes_no_room_from_others() -> None:
    queue = Queue(0)
    turns = Turns(queue.left, look_seconds=LOOK_SECONDS)
    gone = asyncio.create_task(turns.take("acme", 10))
    waiting = asyncio.create_task(turns.take("acme", 10))
    await asyncio.sleep(2 * LOOK_SECONDS)
    gone.cancel()
    queue.room = 10
    await asyncio.wait_for(waiting, 5)


async def test_stopping_sends_away_who_waits_and_who_comes_later() -> None:
    turns = Turns(Queue(0).left, look_seconds=LOOK_SECONDS)
    waiting = asyncio.create_task(turns.take("acme", 10))
    await asyncio.sleep(2 * LOOK_SECONDS)
    turns.close()
    with pytest.raises(Overloaded):
        await waiting
    with pytest.raises(Overloaded):
        await turns.take("acme", 10)


async def test_a_fault_in_looking_reaches_who_waits() -> None:
    async def broken() -> float:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(Turns(broken, look_seconds=LOOK_SECONDS).take("acme", 1), 5)
