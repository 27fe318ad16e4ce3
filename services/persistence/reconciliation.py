"""Compares database and index in steps that depend on nothing but their cursor, and repairs what differs.

    revisions     index and database side by side, in the order of revisions
    deletes       the fence of every deleted document
    collections   the fence of every deleted collection
    unfinished    documents whose messages are lost

The database is right. A difference counts once it is there in a second look, after everything that was on its way at
the first one has arrived. Any process may do any step, any number of times.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Final, Protocol

from contracts.reconciliation import (
    MAX_FENCES_PER_REQUEST,
    MAX_FINDINGS_PER_STEP,
    MAX_REVISIONS_PER_PAGE,
    FencesReply,
    IndexFence,
    Outcome,
    ReconcileFinding,
    ReconcileReply,
    ReconcileRequest,
    RevisionsReply,
    StoredRevision,
)
from services.persistence.audit_reads import deleted_after, known_documents, shown_between
from services.persistence.collection_deletes import page_of_deletes
from services.persistence.comparison import (
    Difference,
    DocumentKey,
    Recorded,
    compare,
    fence_differences,
    wanted_fence,
)
from services.persistence.events import PointsLost
from services.persistence.places import Place, Stage, read_place
from services.persistence.read_pool import ReadPool
from services.persistence.unfinished import UnfinishedDocuments

# A step ends with the first page after this, so that a request never takes long; its second look comes on top.
LOOK_SECONDS: Final = 2.0
MAX_SUSPECTS: Final = 200
PAGE_DOCUMENTS: Final = min(MAX_REVISIONS_PER_PAGE, MAX_FENCES_PER_REQUEST)


class Index(Protocol):
    """What is asked of the retriever; every call may raise Unavailable."""

    async def revisions(self, after: int, limit: int) -> RevisionsReply:
        """Return a page of what is stored."""
        ...

    async def fences(self, fences: Sequence[IndexFence], *, look: bool) -> FencesReply:
        """Lift fences, or only look, and return those that were lower."""
        ...

    async def remove(self, revisions: Sequence[StoredRevision]) -> None:
        """Remove revisions."""
        ...


class Progress(Protocol):
    """How far the work on messages has come; every call may raise Unavailable."""

    async def recorded(self) -> int:
        """Return the revision up to which intake has seen every message."""
        ...

    async def caught_up(self, patience_seconds: float) -> bool:
        """Wait until everything that was on its way at the call has arrived; false when that takes too long."""
        ...


Lose = Callable[[PointsLost], Awaitable[None]]


@dataclass(slots=True)
class _Look:
    """What was compared, and what differed."""

    documents: int = 0
    points: int = 0
    differences: list[Difference] = field(default_factory=list)


class Reconciliation:
    """Does the steps; `lose` records that points of a document are gone, for its producer to send it again."""

    def __init__(
        self,
        pool: ReadPool,
        index: Index,
        progress: Progress,
        lose: Lose,
        unfinished: UnfinishedDocuments,
        *,
        settle_seconds: float,
    ) -> None:
        self._pool = pool
        self._unfinished = unfinished
        self._index = index
        self._progress = progress
        self._lose = lose
        self._settle_seconds = settle_seconds

    async def step(self, request: ReconcileRequest) -> ReconcileReply:
        """Compare some pages and repair what differs; Rejected for a cursor that no step has answered."""
        place = read_place(request.cursor)
        look = _Look()
        findings: list[ReconcileFinding] = []
        if place.stage is not Stage.UNFINISHED:
            place = await self._compare_from(place, look, findings)
        following: Place | None = place
        # Both kinds of work wait for what is on its way, and one wait is enough for a step.
        if place.stage is Stage.UNFINISHED and not look.differences:
            following, findings = await self._unfinished.page(place)
        return _reply(look, findings, following)

    async def _compare_from(self, place: Place, look: _Look, findings: list[ReconcileFinding]) -> Place:
        recorded = await self._progress.recorded()
        until = time.monotonic() + LOOK_SECONDS
        while True:
            place = await self._page(place, recorded, look)
            full = len(look.differences) >= MAX_SUSPECTS or time.monotonic() > until
            if full or place.stage is Stage.UNFINISHED:
                break
        findings += await self._settle(look.differences, recorded)
        return place

    async def _page(self, place: Place, recorded: int, look: _Look) -> Place:
        match place.stage:
            case Stage.REVISIONS:
                return await self._revisions(place, recorded, look)
            case Stage.DELETES:
                return await self._deletes(place, look)
            case _:
                return await self._collections(place, look)

    async def _revisions(self, place: Place, recorded: int, look: _Look) -> Place:
        """Compare the revisions of a page of the index with what the database says is shown of the same ones."""
        page = await self._index.revisions(place.revision, MAX_REVISIONS_PER_PAGE)
        upto = page.next_after
        shown = await self._pool.run(partial(shown_between, after=place.revision, upto=upto, limit=PAGE_DOCUMENTS + 1))
        if len(shown) > PAGE_DOCUMENTS:
            # More documents than fit a page although the index holds little: the rest comes with the next page.
            shown = shown[:PAGE_DOCUMENTS]
            upto = shown[-1].visible_revision
        stored = [entry for entry in page.entries if upto is None or entry.revision <= upto]
        await self._compare(shown, stored, recorded, look)
        return place.after_revision(upto) if upto is not None else Place(Stage.DELETES)

    async def _compare(
        self, shown: Sequence[Recorded], stored: Sequence[StoredRevision], recorded: int, look: _Look
    ) -> None:
        owners = {(entry.tenant, entry.document_id) for entry in stored}
        documents = await self._pool.run(partial(known_documents, keys=owners))
        look.documents += len(shown)
        look.points += sum(entry.points for entry in stored)
        look.differences += compare(shown, stored, documents, recorded=recorded)
        await self._look_at_fences([wanted_fence(document) for document in shown], look)

    async def _deletes(self, place: Place, look: _Look) -> Place:
        deleted = await self._pool.run(partial(deleted_after, after=place.key, limit=PAGE_DOCUMENTS))
        look.documents += len(deleted)
        await self._look_at_fences([wanted_fence(document) for document in deleted], look)
        return place.after_key(deleted[-1].key) if len(deleted) == PAGE_DOCUMENTS else Place(Stage.COLLECTIONS)

    async def _collections(self, place: Place, look: _Look) -> Place:
        deletes = await self._pool.run(partial(page_of_deletes, after=place.key, limit=PAGE_DOCUMENTS))
        await self._look_at_fences(
            [IndexFence(tenant=each.tenant, collection=each.collection, floor=each.revision) for each in deletes], look
        )
        full = len(deletes) == PAGE_DOCUMENTS
        return place.after_key((deletes[-1].tenant, deletes[-1].collection)) if full else Place(Stage.UNFINISHED)

    async def _look_at_fences(self, fences: Sequence[IndexFence | None], look: _Look) -> None:
        wanted = [fence for fence in fences if fence is not None]
        if wanted:
            reply = await self._index.fences(wanted, look=True)
            look.differences += fence_differences(wanted, reply.behind)

    async def _settle(self, suspects: Sequence[Difference], recorded: int) -> list[ReconcileFinding]:
        """Look at differences a second time, and repair those that are still there."""
        if not suspects:
            return []
        caught_up = await self._progress.caught_up(self._settle_seconds)
        confirmed = await self._look_again(suspects, recorded)
        if not caught_up:
            return [_finding(each, "in_flight") for each in confirmed]
        return [finding for some in _by_kind(confirmed) for finding in await self._repair(some)]

    async def _look_again(self, suspects: Sequence[Difference], recorded: int) -> list[Difference]:
        """Return what still differs; the index is asked first, so that the database can only be ahead of it."""
        stored = [entry for suspect in suspects for entry in await self._points_of(suspect)]
        keys = {(each.tenant, each.document_id) for each in suspects if each.document_id is not None}
        documents = await self._pool.run(partial(known_documents, keys=keys))
        again = _Look()
        again.differences += compare(documents.values(), stored, documents, recorded=recorded)
        collections = [
            IndexFence(tenant=each.tenant, collection=each.collection, floor=each.revision)
            for each in suspects
            if each.collection is not None
        ]
        await self._look_at_fences([*map(wanted_fence, documents.values()), *collections], again)
        wanted = {suspect.identity for suspect in suspects}
        return [each for each in again.differences if each.identity in wanted]

    async def _points_of(self, suspect: Difference) -> list[StoredRevision]:
        if suspect.document_id is None or suspect.kind == "fence":
            return []
        page = await self._index.revisions(suspect.revision - 1, 1)
        key: DocumentKey = (suspect.tenant, suspect.document_id)
        return [
            entry
            for entry in page.entries
            if entry.revision == suspect.revision and (entry.tenant, entry.document_id) == key
        ]

    async def _repair(self, differences: Sequence[Difference]) -> list[ReconcileFinding]:
        """Repair differences of one kind."""
        match differences[0].kind:
            case "orphan":
                await self._index.remove([_stored(each) for each in differences])
                return [_finding(each, "repaired") for each in differences]
            case "fence":
                await self._index.fences([each.fence for each in differences if each.fence is not None], look=False)
                return [_finding(each, "repaired") for each in differences]
            case "lost":
                await asyncio.gather(*(self._lose(_loss(each)) for each in differences))
                return [_finding(each, "send_again") for each in differences]
            case _:
                return [_finding(each, "open") for each in differences]


def _by_kind(differences: Sequence[Difference]) -> list[list[Difference]]:
    kinds = dict.fromkeys(each.kind for each in differences)
    return [[each for each in differences if each.kind == kind] for kind in kinds]


def _stored(difference: Difference) -> StoredRevision:
    return StoredRevision(
        tenant=difference.tenant, document_id=difference.document_id or "", revision=difference.revision
    )


def _loss(difference: Difference) -> PointsLost:
    return PointsLost(
        tenant=difference.tenant,
        document_id=difference.document_id or "",
        revision=difference.revision,
        at=datetime.now(UTC),
        found=difference.found,
    )


def _finding(difference: Difference, outcome: Outcome) -> ReconcileFinding:
    return ReconcileFinding(
        kind=difference.kind,
        outcome=outcome,
        tenant=difference.tenant,
        document_id=difference.document_id,
        collection=difference.collection,
        revision=difference.revision,
        expected=difference.expected,
        found=difference.found,
    )


def _reply(look: _Look, findings: Sequence[ReconcileFinding], place: Place | None) -> ReconcileReply:
    counts: dict[str, dict[str, int]] = {}
    for finding in findings:
        of_kind = counts.setdefault(finding.kind, {})
        of_kind[finding.outcome] = of_kind.get(finding.outcome, 0) + 1
    return ReconcileReply(
        documents=look.documents,
        points=look.points,
        counts=counts,
        findings=list(findings[:MAX_FINDINGS_PER_STEP]),
        cursor=None if place is None else place.cursor,
    )
