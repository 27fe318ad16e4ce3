"""What the gateway remembers is bounded and passes."""

import pytest

from services.gateway.rates import Rates
from services.gateway.recent import RecentWrites
from services.gateway.seats import Seats
from shared.errors import Overloaded


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_write_is_remembered_for_its_time_only() -> None:
    clock = Clock()
    recent = RecentWrites(keep_seconds=60, max_entries=10, clock=clock)
    recent.record("default", "a", 7, "c")
    clock.now += 59
    write = recent.find("default", "a")
    assert write is not None
    assert (write.revision, recent.knows_collection("default", "c")) == (7, True)
    clock.now += 2
    assert recent.find("default", "a") is None
    assert not recent.knows_collection("default", "c")


def test_the_later_revision_of_a_document_stays() -> None:
    recent = RecentWrites(keep_seconds=60, max_entries=10)
    for revision in (7, 9, 8):
        recent.record("default", "a", revision, "c")
    write = recent.find("default", "a")
    assert write is not None
    assert write.revision == 9


def test_the_memory_of_writes_is_bounded_and_keeps_the_newest() -> None:
    recent = RecentWrites(keep_seconds=60, max_entries=10)
    for index in range(100):
        recent.record("default", f"d{index}", index + 1, f"c{index}")
    assert len(recent) == 20
    assert recent.find("default", "d99") is not None
    assert recent.find("default", "d89") is None


def test_one_tenant_does_not_see_what_another_wrote() -> None:
    recent = RecentWrites(keep_seconds=60, max_entries=10)
    recent.record("ours", "a", 1, "c")
    assert recent.find("theirs", "a") is None
    assert not recent.knows_collection("theirs", "c")


def test_a_rate_needs_two_samples() -> None:
    rates = Rates(window_seconds=60, max_samples=10)
    assert rates.per_second("parser") is None
    rates.sample("parser", 0.0, 100)
    assert rates.per_second("parser") is None
    rates.sample("parser", 5.0, 150)
    assert rates.per_second("parser") == 10.0


def test_a_rate_covers_the_window_and_not_what_was_before() -> None:
    rates = Rates(window_seconds=10, max_samples=100)
    for second in range(100):
        rates.sample("parser", float(second), second * (1 if second < 50 else 3))
    assert rates.per_second("parser") == 3.0


def test_a_consumer_that_was_made_anew_has_no_negative_rate() -> None:
    rates = Rates(window_seconds=60, max_samples=10)
    rates.sample("parser", 0.0, 100)
    rates.sample("parser", 5.0, 3)
    assert rates.per_second("parser") is None


def test_whoever_finds_no_seat_is_turned_away_and_a_seat_that_is_left_is_free() -> None:
    seats = Seats(2, "too many callers wait")
    with seats.taken(), seats.taken(), pytest.raises(Overloaded, match="too many callers wait"):
        seats.take(1)
    assert seats.free == 2
