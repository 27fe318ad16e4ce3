"""Waiting for documents: notices of what happens to them, and the wait until all are through.

A notice may be lost, so whoever waits also looks at what persistence has recorded, at the start, now and then, and at
the end.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from contracts.facts import (
    DocumentAccepted,
    DocumentDeleted,
    DocumentFact,
    DocumentFailed,
    DocumentIndexed,
    DocumentParsed,
)
from contracts.messages import Fact
from contracts.reads import ChunkCounts, DocumentError, DocumentStatus, DocumentView
from services.gateway.receipts import Receipt

MAX_NOTICES: Final = 1_000
MAX_LOOKS: Final = 16

Look = Callable[[str], Awaitable[DocumentView | None]]


@dataclass(frozen=True, slots=True)
class Change:
    """Where a document stands now; `chunks` is None when the news does not tell."""

    document_id: str
    revision: int
    status: DocumentStatus
    chunks: ChunkCounts | None = None
    error: DocumentError | None = None


def change_of(fact: Fact) -> Change | None:
    """Return what a fact means for a reader of the document; None when nothing that a reader sees."""
    if not isinstance(fact, DocumentFact):
        return None
    document_id, revision = fact.document_id, fact.revision
    if isinstance(fact, DocumentAccepted):
        return Change(document_id, revision, "accepted") if fact.op == "upsert" else None
    if isinstance(fact, DocumentParsed):
        return Change(document_id, revision, "processing", ChunkCounts(total=fact.chunks))
    if isinstance(fact, DocumentIndexed):
        return Change(document_id, revision, "indexed", ChunkCounts(total=fact.chunks, indexed=fact.chunks))
    if isinstance(fact, DocumentDeleted):
        return Change(document_id, revision, "deleted", ChunkCounts())
    if isinstance(fact, DocumentFailed):
        return Change(document_id, revision, "failed", None, DocumentError(code=fact.code, message=fact.message))
    return None


def change_in(view: DocumentView) -> Change:
    """Return what a recorded document says."""
    return Change(view.id, view.revision, view.status, view.chunks, view.error)


class Watch:
    """The notices about some documents, for one who waits; the oldest are dropped when they are not taken."""

    def __init__(self) -> None:
        self._notices: asyncio.Queue[Change | None] = asyncio.Queue(MAX_NOTICES)
        self.ended = False

    def end(self) -> None:
        """Have whoever waits go: this process is about to end."""
        self.ended = True
        if not self._notices.full():
            self._notices.put_nowait(None)

    def notify(self, change: Change) -> None:
        """Take a notice."""
        if self._notices.full():
            self._notices.get_nowait()
        self._notices.put_nowait(change)

    async def next(self, timeout_seconds: float) -> Change | None:
        """Return the next notice, None when none came in time or the watch has ended."""
        if self.ended:
            return None
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._notices.get()
        except TimeoutError:
            return None


class Watches:
    """Who waits for which document."""

    def __init__(self) -> None:
        self._of_document: defaultdict[tuple[str, str], set[Watch]] = defaultdict(set)
        self._ended = False

    def end(self) -> None:
        """End every watch, also those to come."""
        self._ended = True
        for watch in {watch for watches in self._of_document.values() for watch in watches}:
            watch.end()

    def __len__(self) -> int:
        return len(self._of_document)

    def add(self, tenant: str, document_ids: Iterable[str]) -> Watch:
        """Begin to watch documents."""
        watch = Watch()
        if self._ended:
            watch.end()
        for document_id in document_ids:
            self._of_document[tenant, document_id].add(watch)
        return watch

    def remove(self, watch: Watch, tenant: str, document_ids: Iterable[str]) -> None:
        """End it."""
        for key in {(tenant, document_id) for document_id in document_ids}:
            self._of_document[key].discard(watch)
            if not self._of_document[key]:
                del self._of_document[key]

    def notify(self, tenant: str, change: Change) -> None:
        """Tell everybody who waits for the document."""
        for watch in self._of_document.get((tenant, change.document_id), ()):
            watch.notify(change)


async def refresh(receipts: Collection[Receipt], look: Look) -> None:
    """Bring receipts up to date with what is recorded now; what cannot be read stays as it is."""
    slots = asyncio.Semaphore(MAX_LOOKS)

    async def look_at(document_id: str) -> DocumentView | None:
        async with slots:
            return await look(document_id)

    ids = list({receipt.document_id for receipt in receipts})
    views = dict(zip(ids, await asyncio.gather(*map(look_at, ids)), strict=True))
    for receipt in receipts:
        view = views[receipt.document_id]
        if view is not None and view.revision >= receipt.revision:
            receipt.status, receipt.error = view.status, view.error
            receipt.overtaken = view.revision > receipt.revision


async def wait_until_through(
    receipts: Sequence[Receipt], watch: Watch, look: Look, *, wait_seconds: float, recheck_seconds: float
) -> None:
    """Bring the receipts up to date until every document is in a terminal state, the time is up or the watch ends.

    A document that was written again meanwhile counts as through; its receipt then shows the later revision's status.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + wait_seconds
    await refresh([receipt for receipt in receipts if receipt.duplicate], look)
    while (waiting := _open(receipts)) and not watch.ended and (remaining := deadline - clock()) > 0:
        change = await watch.next(min(remaining, recheck_seconds))
        if change is not None:
            _apply(change, waiting)
        elif clock() < deadline and not watch.ended:
            await refresh(waiting, look)
    await refresh([receipt for receipt in receipts if receipt.overtaken or not receipt.through], look)


def _open(receipts: Sequence[Receipt]) -> list[Receipt]:
    return [receipt for receipt in receipts if not receipt.through]


def _apply(change: Change, waiting: Iterable[Receipt]) -> None:
    for receipt in waiting:
        if change.document_id != receipt.document_id:
            continue
        if change.revision > receipt.revision:
            receipt.overtaken = True
        elif change.revision == receipt.revision:
            receipt.status, receipt.error = change.status, change.error
