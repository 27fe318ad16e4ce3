"""Single steps of a comparison, on a real database and an index whose content the test decides at every moment."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from contracts.reconciliation import (
    FencesReply,
    IndexFence,
    ReconcileReply,
    ReconcileRequest,
    RevisionsReply,
    StoredRevision,
)
from services.persistence import reconciliation
from services.persistence.database import Database
from services.persistence.events import DocumentEvent
from services.persistence.read_pool import ReadPool
from services.persistence.reconciliation import Reconciliation
from services.persistence.unfinished import Reached, UnfinishedDocuments
from tests.integration.persistence_database import happen, indexed, migrated, settings_of, stored
from tests.unit.persistence.histories import About

CHUNKS = 10
Meanwhile = Callable[[], None]


@dataclass
class Index:
    """Points by document and revision; every fence is high enough."""

    points: dict[tuple[str, int], int] = field(default_factory=dict)

    async def revisions(self, after: int, limit: int) -> RevisionsReply:
        entries = sorted(
            (
                StoredRevision(tenant="acme", document_id=name, revision=revision, points=number)
                for (name, revision), number in self.points.items()
                if revision > after
            ),
            key=lambda entry: entry.revision,
        )
        more = len(entries) > limit
        return RevisionsReply(entries=entries[:limit], next_after=entries[limit - 1].revision if more else None)

    async def fences(self, fences: Sequence[IndexFence], *, look: bool) -> FencesReply:
        return FencesReply(behind=[])

    async def remove(self, revisions: Sequence[StoredRevision]) -> None:
        for each in revisions:
            del self.points[(each.document_id, each.revision)]


@dataclass
class Progress:
    """Everything up to revision 100 is recorded; `meanwhile` is what happens between the two looks."""

    settles: bool = True
    first: int = 1
    parsed: int = 100
    meanwhile: Meanwhile = lambda: None

    async def recorded(self) -> int:
        return 100

    async def caught_up(self, patience_seconds: float) -> bool:
        self.meanwhile()
        return self.settles

    async def reached(self) -> Reached:
        return Reached(first=self.first, parsed=self.parsed)

    async def worked_off(self, patience_seconds: float) -> bool:
        self.meanwhile()
        return self.settles


@dataclass
class Stand:
    """A database, an index, and the steps that compare them."""

    database: Database
    pool: ReadPool
    index: Index = field(default_factory=Index)
    progress: Progress = field(default_factory=Progress)

    async def step(self, cursor: str | None = None) -> ReconcileReply:
        unfinished = UnfinishedDocuments(self.pool, self.progress, self._lose, settle_seconds=1, quiet_seconds=60)
        steps = Reconciliation(self.pool, self.index, self.progress, self._lose, unfinished, settle_seconds=1)
        return await steps.step(ReconcileRequest(cursor=cursor))

    async def _lose(self, event: DocumentEvent) -> None:
        await asyncio.to_thread(happen, self.database, event)


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    with settings_of("sqlite", tmp_path) as settings, migrated(settings) as database:
        pool = ReadPool(database.reads, threads=2)
        yield Stand(database, pool)
        pool.close()


async def test_nothing_is_repaired_while_work_is_on_its_way(stand: Stand) -> None:
    """INVARIANT: no repair hits what would have settled by itself."""
    happen(stand.database, *indexed("a", 5))
    stand.index.points = {("nobody", 3): 2}
    stand.progress.settles = False

    found = await stand.step()

    assert found.counts == {"lost": {"in_flight": 1}, "orphan": {"in_flight": 1}}
    assert stand.index.points == {("nobody", 3): 2}
    assert stored(stand.database, "a").status == "indexed"


async def test_an_update_that_was_on_its_way_is_no_difference(stand: Stand) -> None:
    happen(stand.database, *indexed("a", 5))
    stand.index.points = {("a", 4): CHUNKS, ("a", 7): CHUNKS}

    def settle() -> None:
        stand.index.points = {("a", 7): CHUNKS}
        happen(stand.database, *indexed("a", 7))

    stand.progress.meanwhile = settle

    assert (await stand.step()).counts == {}
    assert stored(stand.database, "a").visible_revision == 7


async def test_a_delete_that_was_on_its_way_is_no_difference(stand: Stand) -> None:
    happen(stand.database, *indexed("a", 5))
    stand.progress.meanwhile = lambda: happen(stand.database, About(8, "a").delete())

    assert (await stand.step()).counts == {}
    assert stored(stand.database, "a").status == "deleted"


async def test_points_that_the_database_does_not_know_of_are_left_to_a_person(stand: Stand) -> None:
    happen(stand.database, *indexed("a", 5))
    stand.index.points = {("a", 5): CHUNKS + 1}

    found = await stand.step()

    assert found.counts == {"surplus": {"open": 1}}
    assert [(each.expected, each.found) for each in found.findings] == [(CHUNKS, CHUNKS + 1)]
    assert stand.index.points == {("a", 5): CHUNKS + 1}


async def test_what_comes_back_after_a_loss_is_counted_again(stand: Stand) -> None:
    happen(stand.database, *indexed("a", 5))
    stand.index.points = {("a", 5): 4}
    assert (await stand.step()).counts == {"lost": {"send_again": 1}}

    happen(stand.database, *indexed("a", 9))
    stand.index.points = {("a", 9): CHUNKS}

    assert (await stand.step()).counts == {}
    assert stored(stand.database, "a").status == "indexed"


async def test_a_step_ends_when_it_has_enough_to_repair(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciliation, "MAX_SUSPECTS", 3)
    monkeypatch.setattr(reconciliation, "MAX_REVISIONS_PER_PAGE", 2)
    stand.index.points = {(f"d{revision}", revision): 1 for revision in range(1, 10)}

    first = await stand.step()
    assert (first.counts, first.cursor) == ({"orphan": {"repaired": 4}}, "revisions:4")
    second = await stand.step(first.cursor)
    third = await stand.step(second.cursor)

    assert (second.counts, third.counts) == ({"orphan": {"repaired": 4}}, {"orphan": {"repaired": 1}})
    assert (third.cursor, stand.index.points) == ("unfinished::", {})
    assert (await stand.step(third.cursor)).cursor is None
