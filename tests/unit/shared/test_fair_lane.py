"""The lane past a durable's backlog, on a stream that is a list."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import pytest

from shared.errors import Rejected, Unavailable
from shared.messaging import fair_lane
from shared.messaging.early_work import EarlyWork
from shared.messaging.fair_lane import FairLane, Position, WaitingMessage, Work, beside
from shared.messaging.lane_cursors import ASKED_ANYWAY, LaneCursors
from tests.running import eventually

LOOK_SECONDS = 0.01


class Stream:
    """Messages by tenant; `delivered` is how far the durable is."""

    def __init__(self, *tenants: str, delivered: int = 0) -> None:
        self.messages = dict(enumerate(tenants, 1))
        self.delivered, self.settled, self.asked = delivered, 0, Counter[str]()

    async def position(self) -> Position:
        return Position(self.delivered, self.settled, len([n for n in self.messages if n > self.delivered]))

    async def tenants(self) -> Mapping[str, int]:
        return Counter(self.messages.values())

    async def next_of(self, tenant: str, after: int) -> WaitingMessage | None:
        self.asked[tenant] += 1
        numbers = [number for number, name in self.messages.items() if number > after and name == tenant]
        return WaitingMessage(tenant, f"rag.v1.ingest.{tenant}", numbers[0], {}, b"", 0.0) if numbers else None


class Handler:
    """Notes what it was given; `failures` are raised one after the other."""

    def __init__(self, *failures: Exception) -> None:
        self.handled: list[int] = []
        self.failures = list(failures)
        self.outcomes: Counter[str] = Counter()
        self.hold: Callable[[WaitingMessage], Awaitable[None]] | None = None

    async def handle(self, message: WaitingMessage) -> None:
        if self.hold is not None:
            await self.hold(message)
        if self.failures:
            raise self.failures.pop(0)
        self.handled.append(message.sequence)

    def count(self, outcome: str) -> None:
        self.outcomes[outcome] += 1


@asynccontextmanager
async def lane(stream: Stream, handler: Handler, early: EarlyWork, at_once: int = 3) -> AsyncIterator[None]:
    work = Work(handle=handler.handle, next_of=lambda tenants: tenants[0], outcome=handler.count)
    running = FairLane(stream, work, early, at_once=at_once, look_seconds=LOOK_SECONDS)
    with early.serving("heavy", 1):
        async with beside(running.run(asyncio.Event())):
            yield


async def test_it_takes_what_waits_of_others_and_nothing_of_whom_the_durable_serves() -> None:
    early, handler = EarlyWork(), Handler()
    async with lane(Stream("heavy", "heavy", "a", "heavy", "b", "a", delivered=1), handler, early):
        await eventually(lambda: len(handler.handled) == 3, "three messages are handled early")
    assert sorted(handler.handled) == [3, 5, 6]
    assert [number for number in range(1, 7) if await early.was_done(number)] == [3, 5, 6]


async def test_what_another_replica_did_is_left_out() -> None:
    early, handler = EarlyWork(), Handler()
    early.heard(2)
    async with lane(Stream("heavy", "a", "a", delivered=1), handler, early):
        await eventually(lambda: handler.handled, "a message is handled early")
    assert handler.handled == [3]


async def test_a_failure_is_left_to_the_durable_and_what_is_behind_it_goes_on() -> None:
    early, handler = EarlyWork(), Handler(Rejected("no text"))
    async with lane(Stream("heavy", "a", "a", delivered=1), handler, early):
        await eventually(lambda: handler.handled, "the second message is handled early")
    assert handler.handled == [3]
    assert not await early.was_done(2)
    assert handler.outcomes == {"left": 1, "done": 1}


async def test_what_may_work_later_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_lane, "PAUSE_AFTER_FAILURE_SECONDS", 0.02)
    early, handler = EarlyWork(), Handler(Unavailable("away"), Unavailable("away"))
    async with lane(Stream("heavy", "a", delivered=1), handler, early):
        await eventually(lambda: handler.handled == [2], "the message is handled early")
    assert handler.outcomes == {"left": 2, "done": 1}


async def test_one_tenant_does_not_take_the_last_place() -> None:
    early, handler, release = EarlyWork(), Handler(), asyncio.Event()

    async def hold(message: WaitingMessage) -> None:
        if message.tenant == "a":
            await release.wait()

    handler.hold = hold
    async with lane(Stream("heavy", "a", "a", "a", "b", delivered=1), handler, early):
        await eventually(lambda: handler.handled == [5], "the other tenant's message passes")
        release.set()
        await eventually(lambda: len(handler.handled) == 4, "all messages are handled early")


async def test_whoever_gets_a_message_in_work_waits_for_the_lane() -> None:
    early, handler, release = EarlyWork(), Handler(), asyncio.Event()

    async def hold(_: WaitingMessage) -> None:
        await release.wait()

    handler.hold = hold
    async with lane(Stream("heavy", "a", delivered=1), handler, early):
        await eventually(lambda: 2 in early, "the message is in work")
        asked = asyncio.create_task(early.was_done(2))
        await asyncio.sleep(LOOK_SECONDS)
        assert not asked.done()
        release.set()
        assert await asyncio.wait_for(asked, 5)


def test_what_is_settled_is_forgotten_and_what_the_durable_gave_out_is_not_remembered() -> None:
    early = EarlyWork()
    early.did(5)
    early.settled(5)
    assert 5 not in early
    early.did(4)
    assert 4 not in early
    early.delivered(9)
    early.heard(9)
    assert 9 not in early
    early.heard(10)
    assert 10 in early


def test_a_tenant_with_nothing_left_is_asked_again_when_its_number_changes_and_some_in_turn() -> None:
    cursors, many = LaneCursors(), {f"t{number}": 1 for number in range(3 * ASKED_ANYWAY)}
    cursors.see(0, many)
    for tenant in many:
        cursors.nothing_left(tenant)
    cursors.see(0, many | {"t40": 2})
    first = set(cursors.waiting(0))
    assert "t40" in first
    assert len(first) == ASKED_ANYWAY + 1
    for tenant in first:
        cursors.nothing_left(tenant)
    cursors.see(0, many | {"t40": 2})
    assert not first & set(cursors.waiting(0))
