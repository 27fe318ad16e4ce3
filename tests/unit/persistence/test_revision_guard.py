"""When intake may take a sequence of INGEST for a revision."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from services.persistence import revision_guard
from services.persistence.revision_guard import BehindError, Numbering, RevisionGuard
from shared.errors import Unavailable

Change = Callable[["World"], None]


@dataclass
class World:
    """A stream, a database and an index, each as the test says."""

    numbering_now: Numbering | None = field(default_factory=lambda: Numbering(1, 100))
    connections: int = 0
    recorded: int = 100
    indexed: int | None = 0
    database_away: bool = False

    def connection(self) -> int:
        return self.connections

    async def numbering(self) -> Numbering | None:
        return self.numbering_now

    async def highest_recorded(self) -> int:
        if self.database_away:
            raise Unavailable("the database is away")
        return self.recorded

    async def indexed_above(self, revision: int) -> int:
        if self.indexed is None:
            raise Unavailable("no retriever answers")
        return self.indexed if self.indexed > revision else 0

    def guard(self) -> RevisionGuard:
        return RevisionGuard(self, self.highest_recorded, self.indexed_above)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revision_guard, "FIRST_LOOK_SECONDS", 0.001)
    monkeypatch.setattr(revision_guard, "LOOK_SECONDS", 0.001)


async def outcome(answer: Awaitable[bool]) -> bool | None:
    """Return the answer, None when there is none: whoever asked still waits."""
    try:
        async with asyncio.timeout(0.05):
            return await answer
    except TimeoutError:
        return None


async def test_a_stream_above_everything_known_admits_every_message_also_one_of_before() -> None:
    world = World()
    guard = world.guard()
    assert await outcome(guard.admits(101))
    assert await outcome(guard.admits(7)), "a redelivery"
    assert (await guard.check())["revisions_from"] == 1


def stream_behind(world: World) -> None:
    world.numbering_now = Numbering(1, 3)


def no_stream(world: World) -> None:
    world.numbering_now = None


def database_away(world: World) -> None:
    world.database_away = True


def index_ahead(world: World) -> None:
    world.indexed = 150


@pytest.mark.parametrize("wrong", [stream_behind, no_stream, database_away, index_ahead])
async def test_nothing_is_admitted_until_the_stream_is_known_to_be_above(wrong: Change) -> None:
    """INVARIANT: the later write wins. A message of a stream that is behind would be dropped as outdated, untold."""
    world = World()
    wrong(world)
    guard = world.guard()
    assert await outcome(guard.admits(4)) is None
    with pytest.raises(BehindError, match="INGEST"):
        await guard.check()


async def test_a_message_of_the_stream_that_was_behind_is_refused_once_there_is_another() -> None:
    """INVARIANT: the later write wins. Its number means another message."""
    world = World(numbering_now=Numbering(1, 4))
    guard = world.guard()
    held = asyncio.create_task(guard.admits(4))
    await asyncio.sleep(0.02)
    with pytest.raises(BehindError, match=r"ends at 4, but the database knows revision 100.*rag provision"):
        await guard.check()
    world.numbering_now = Numbering(1_000, 999)
    assert await outcome(held) is False
    assert await outcome(guard.admits(1_000))


async def test_a_new_connection_is_one_to_a_broker_that_may_have_lost_everything() -> None:
    """INVARIANT: the later write wins, also where the broker was exchanged while this process ran."""
    world = World()
    guard = world.guard()
    assert await outcome(guard.admits(101))
    world.connections, world.numbering_now = 1, Numbering(1, 1)
    assert await outcome(guard.admits(1)) is None


async def test_a_stream_whose_end_has_fallen_is_noticed_without_a_new_connection() -> None:
    world = World()
    guard = world.guard()
    watching = asyncio.create_task(guard.watch())
    assert await outcome(guard.admits(101))
    world.numbering_now = Numbering(1, 0)
    await asyncio.sleep(0.05)
    assert await outcome(guard.admits(1)) is None
    watching.cancel()


async def test_an_index_that_does_not_answer_holds_nothing_up_and_is_asked_again() -> None:
    world = World(indexed=None)
    guard = world.guard()
    watching = asyncio.create_task(guard.watch())
    assert await outcome(guard.admits(101))
    world.indexed = 150
    await asyncio.sleep(0.05)
    assert await outcome(guard.admits(101)) is None
    watching.cancel()


async def test_what_is_indexed_while_the_index_is_asked_is_no_sign_of_a_lost_stream() -> None:
    world = World()
    looks = iter([Numbering(1, 100), Numbering(1, 101)])

    async def numbering() -> Numbering:
        return next(looks)

    world.numbering = numbering  # type: ignore[method-assign]
    world.indexed = 101
    assert await outcome(world.guard().admits(102))
