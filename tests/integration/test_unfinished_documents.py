"""Documents whose messages are gone, on a real database, with queues whose state the test decides at every moment."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from contracts.reconciliation import ReconcileFinding
from services.persistence.audit_reads import highest_revision
from services.persistence.collection_deletes import remember_delete
from services.persistence.database import Database
from services.persistence.events import CollectionDeleted, DocumentEvent
from services.persistence.places import Place, Stage
from services.persistence.read_pool import ReadPool
from services.persistence.settings import PersistenceSettings
from services.persistence.unfinished import Reached, UnfinishedDocuments
from tests.integration.persistence_database import ask, happen, indexed, migrated, stored
from tests.unit.persistence.histories import About

QUIET_SECONDS = 600.0
LONG_AGO = datetime.now(UTC) - timedelta(seconds=2 * QUIET_SECONDS)
RENEWED = Reached(first=1_000, parsed=999)
THE_SAME = Reached(first=1, parsed=100)


@dataclass
class Stand:
    """A database and queues; `meanwhile` is what happens between the two looks."""

    database: Database
    pool: ReadPool
    now: Reached = RENEWED
    settles: bool = True
    meanwhile: Callable[[], None] = lambda: None
    failed: list[str] = field(default_factory=list)

    async def reached(self) -> Reached:
        return self.now

    async def worked_off(self, patience_seconds: float) -> bool:
        self.meanwhile()
        return self.settles

    async def look(self) -> dict[str | None, str]:
        """Go through all documents; return what became of those that were found."""
        pages = UnfinishedDocuments(self.pool, self, self._fail, settle_seconds=1, quiet_seconds=QUIET_SECONDS)
        findings: list[ReconcileFinding] = []
        place: Place | None = Place(Stage.UNFINISHED)
        while place is not None:
            place, found = await pages.page(place)
            findings += found
        return {each.document_id: each.outcome for each in findings}

    async def _fail(self, event: DocumentEvent) -> None:
        await asyncio.to_thread(happen, self.database, event)


@pytest.fixture
def stand(each_database: PersistenceSettings) -> Iterator[Stand]:
    with migrated(each_database) as database:
        pool = ReadPool(database.reads, threads=2)
        yield Stand(database, pool)
        pool.close()


async def test_a_document_of_a_lost_broker_fails_with_a_reason_and_whatever_is_done_stays(stand: Stand) -> None:
    """INVARIANT: what was accepted reaches a terminal state, also when its messages are lost with the broker's disk."""
    accepted, parsed, part = About(1, "accepted"), About(2, "parsed"), About(3, "part")
    happen(stand.database, accepted.accepted(), parsed.accepted(), parsed.parsed(2))
    happen(stand.database, part.accepted(), part.parsed(2), part.batch(0))
    happen(stand.database, *indexed("whole", 4), About(5, "gone").accepted(), About(6, "gone").delete())
    happen(stand.database, *indexed("updated", 7), About(8, "updated").accepted())
    happen(stand.database, About(9, "broken").accepted(), About(9, "broken").failed("corrupt"))
    happen(stand.database, About(1_000, "new").accepted())

    assert await stand.look() == dict.fromkeys(("accepted", "parsed", "part", "updated"), "send_again")

    status = {name: stored(stand.database, name).status for name in ("whole", "gone", "broken", "new")}
    assert status == {"whole": "indexed", "gone": "deleted", "broken": "failed", "new": "accepted"}
    lost = stored(stand.database, "accepted")
    assert (lost.status, lost.progress.error.code if lost.progress.error else "") == ("failed", "message_lost")
    assert stored(stand.database, "updated").visible_revision == 7, "the last good revision stays searchable"
    assert await stand.look() == {}


async def test_a_report_that_comes_after_all_makes_the_document_whole(stand: Stand) -> None:
    """INVARIANT: the tables end the same, however late a message is. A process may still have held it."""
    about = About(1, "a")
    happen(stand.database, about.accepted())
    assert await stand.look() == {"a": "send_again"}
    happen(stand.database, about.parsed(1), about.batch(0))
    assert stored(stand.database, "a").status == "indexed"


async def test_an_update_that_intake_never_saw_is_told_of(stand: Stand) -> None:
    """INVARIANT: what was accepted reaches a terminal state; of a document that is new the reports are all we know."""
    happen(stand.database, About(5, "new").parsed(2), *indexed("old", 6), About(7, "old").parsed(2))
    assert await stand.look() == {"new": "send_again", "old": "send_again"}
    for name, revision, visible in (("new", 5, 0), ("old", 7, 6)):
        document = stored(stand.database, name)
        assert (document.status, document.revision, document.visible_revision) == ("failed", revision, visible)


async def test_what_moves_between_the_looks_is_not_lost(stand: Stand) -> None:
    happen(stand.database, About(1, "a").accepted(), About(2, "b").accepted())

    def move() -> None:
        happen(stand.database, About(1, "a").parsed(2), About(2, "b").parsed(1), About(2, "b").batch(0))

    stand.meanwhile = move
    assert await stand.look() == {}
    assert [stored(stand.database, name).status for name in "ab"] == ["processing", "indexed"]


async def test_nothing_is_given_up_while_a_queue_behind_the_parser_is_not_worked_off(stand: Stand) -> None:
    stand.settles = False
    happen(stand.database, About(1, "a").accepted())
    assert await stand.look() == {"a": "in_flight"}
    assert stored(stand.database, "a").status == "accepted"


async def test_with_its_stream_there_a_document_must_have_been_parsed_and_stood_still_for_long(stand: Stand) -> None:
    """INVARIANT: accepted is durable. A long queue is no loss."""
    stand.now = THE_SAME
    happen(
        stand.database, About(1, "still", at=LONG_AGO).accepted(), About(2, "lately", at=datetime.now(UTC)).accepted()
    )
    happen(stand.database, About(101, "queued", at=LONG_AGO).accepted())
    happen(stand.database, About(3, "ahead", at=LONG_AGO).parsed(2))
    assert await stand.look() == {"still": "send_again"}


async def test_a_document_of_several_hundred_is_found(stand: Stand) -> None:
    happen(stand.database, *(About(number, f"d{number:03}").accepted() for number in range(1, 450)))
    assert len(await stand.look()) == 449


def test_the_highest_revision_counts_whatever_is_known_of_one(stand: Stand) -> None:
    """INVARIANT: the later write wins. Reports without a message and deletes of collections have revisions too."""
    huge = 1_795_689_510_825_275
    assert ask(stand.database, highest_revision) == 0
    happen(stand.database, *indexed("a", 5))
    assert ask(stand.database, highest_revision) == 5
    with stand.database.writes.begin() as connection:
        remember_delete(connection, CollectionDeleted(tenant="acme", collection="c", revision=9, at=LONG_AGO))
    assert ask(stand.database, highest_revision) == 9
    happen(stand.database, About(huge, "b").parsed(1))
    assert ask(stand.database, highest_revision) == huge
