"""How much may be queued ahead of the embedder."""

import pytest

from services.parser.queue_room import PART_OF_ROOM, QueueRoom, QueueState

FLOOR = 10_000
MESSAGE = 1_000
LOOK_SECONDS = 0.25


def emptied_at(rate: float, seconds: float, *, start: float = 0.0, room: QueueRoom | None = None) -> QueueRoom:
    """Let an embedder empty a queue that is kept full, at so many messages a second."""
    room = room or QueueRoom(ahead_seconds=5, floor_bytes=FLOOR)
    for look in range(int(seconds / LOOK_SECONDS)):
        after = look * LOOK_SECONDS
        room.left(QueueState(100, 100 * MESSAGE, 10_000 + int(rate * after), start + after))
    return room


def test_before_anything_is_known_the_floor_is_the_target_and_a_part_of_it_may_be_filled_at_once() -> None:
    room = QueueRoom(ahead_seconds=5, floor_bytes=FLOOR)
    assert room.left(QueueState(0, 0, 0, 0.0)) == FLOOR * PART_OF_ROOM
    assert room.left(QueueState(12, 12 * MESSAGE, 12, 1.0)) < 0


@pytest.mark.parametrize("rate", [20.0, 200.0])
def test_the_target_is_so_many_seconds_of_work_at_the_rate_that_was_seen(rate: float) -> None:
    room = emptied_at(rate, 60)
    assert room.target_bytes == pytest.approx(rate * MESSAGE * 5, rel=0.1)


def test_a_second_embedder_doubles_the_target() -> None:
    room = emptied_at(40, 60)
    before = room.target_bytes
    emptied_at(80, 60, start=60, room=room)
    assert room.target_bytes == pytest.approx(2 * before, rel=0.1)


def test_an_embedder_that_stands_still_brings_the_target_back_to_the_floor() -> None:
    room = emptied_at(40, 60)
    emptied_at(0, 120, start=60, room=room)
    assert room.target_bytes == FLOOR


def test_a_queue_that_ran_dry_says_nothing_against_the_rate() -> None:
    room = emptied_at(40, 60)
    before = room.rate
    room.left(QueueState(1, MESSAGE, 30_001, 100.0))
    room.left(QueueState(0, 0, 30_001, 101.0))
    assert room.rate == before


def test_a_pause_between_looks_says_nothing_of_the_rate() -> None:
    room = emptied_at(40, 60)
    before = room.rate
    room.left(QueueState(10, 10 * MESSAGE, 30_000, 100.0))
    room.left(QueueState(10, 10 * MESSAGE, 30_001, 200.0))
    assert room.rate == before
