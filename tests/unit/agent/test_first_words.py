"""Whose turn it is: answers that have said nothing go first, and nobody waits for ever."""

import asyncio
from contextlib import ExitStack

import pytest

from services.agent.first_words import FirstWords, Turn

LONG_SECONDS = 30.0


class Room:
    """Answers in one queue; each that was told to end is in `ended` once it may."""

    def __init__(self, together: int, seconds: float = LONG_SECONDS) -> None:
        self._queue = FirstWords(together=together, seconds=seconds)
        self._tasks: list[asyncio.Task[None]] = []
        self.ended: list[str] = []

    def enter(self) -> tuple[Turn, ExitStack]:
        """Return a new answer's turn, and what ends it."""
        stack = ExitStack()
        return stack.enter_context(self._queue.turn()), stack

    def end(self, name: str) -> tuple[asyncio.Task[None], ExitStack]:
        """Have a new answer speak and ask to end."""
        turn, stack = self.enter()
        turn.spoke()

        async def end() -> None:
            await turn.end()
            self.ended.append(name)

        task = asyncio.create_task(end())
        self._tasks.append(task)
        return task, stack

    async def settle(self) -> None:
        """Let everything happen that can."""
        for _ in range(5):
            await asyncio.sleep(0)


async def test_an_answer_ends_at_once_where_nobody_else_is_at_work() -> None:
    room = Room(together=1)
    task, _ = room.end("a")
    await task
    assert room.ended == ["a"]


async def test_answers_that_have_said_nothing_go_first() -> None:
    room = Room(together=2)
    silent = [room.enter() for _ in range(2)]
    room.end("a")
    await room.settle()
    assert room.ended == []
    silent[0][0].spoke()
    await room.settle()
    assert room.ended == ["a"]


async def test_no_more_end_together_than_there_is_room_for_and_in_the_order_they_came() -> None:
    room = Room(together=2)
    first, second, third = room.end("a"), room.end("b"), room.end("c")
    await room.settle()
    assert room.ended == ["a", "b"]
    second[1].close()
    await third[0]
    assert room.ended == ["a", "b", "c"]
    first[1].close()


async def test_an_answer_that_waits_for_the_model_lets_others_pass() -> None:
    room = Room(together=1)
    turn, _ = room.enter()
    room.end("a")
    with turn.waiting_for_model():
        await room.settle()
        assert room.ended == ["a"]


async def test_what_follows_a_models_turn_goes_first_again_while_nothing_was_said() -> None:
    room = Room(together=1)
    turn, stack = room.enter()
    with turn.waiting_for_model():
        pass
    room.end("a")
    await room.settle()
    assert room.ended == []
    stack.close()
    await room.settle()
    assert room.ended == ["a"]


async def test_nobody_waits_longer_than_the_bound() -> None:
    room = Room(together=1, seconds=0.01)
    room.enter()
    task, _ = room.end("a")
    async with asyncio.timeout(5):
        await task
    assert room.ended == ["a"]


@pytest.mark.parametrize("admitted", [False, True])
async def test_one_that_is_cancelled_takes_no_place_with_it(admitted: bool) -> None:
    room = Room(together=1)
    turn, stack = room.enter()
    task, own = room.end("a")
    await room.settle()
    if admitted:
        turn.spoke()  # Admitted, and cancelled before it woke up.
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    own.close()
    stack.close()
    other, _ = room.end("b")
    await other
    assert room.ended == ["b"]


async def test_a_turn_that_breaks_off_gives_its_place_back() -> None:
    room = Room(together=1)
    _, stack = room.enter()
    room.end("a")
    with pytest.raises(RuntimeError), stack:
        raise RuntimeError
    await room.settle()
    assert room.ended == ["a"]
