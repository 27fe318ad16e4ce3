"""Deletes collections: the fence first, then document by document, in pages that survive a crash.

The delete itself is one row. Whoever finds it unfinished goes on where the last page ended; a page that was broken off
is done again, facts included, which changes nothing the second time. Two processes at the same page do no harm.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Final

from contracts.reconciliation import IndexFence
from services.persistence.announcements import Announcement
from services.persistence.collection_deletes import (
    Sweep,
    floor_of,
    remember_delete,
    rewind,
    save_sweep,
    sweep_document,
    to_sweep,
    unfinished,
)
from services.persistence.events import CollectionDeleted, MessageEvent
from services.persistence.read_pool import ReadPool
from services.persistence.recording import key_of
from services.persistence.unit_of_work import GroupCommit
from shared.errors import DeadlineExpired, Unavailable
from shared.logs import get_logger

log = get_logger(__name__)

Announce = Callable[[Iterable[Announcement]], Awaitable[None]]
RaiseFences = Callable[[list[IndexFence]], Awaitable[object]]

PAGE_DOCUMENTS: Final = 100
COLLECTIONS_AT_ONCE: Final = 16
RETRY_SECONDS: Final = 2.0
# How soon a process goes on with what another one left behind when it died.
LOOK_SECONDS: Final = 30.0


class Sweeping:
    """Carries out deletes of collections; `raise_fences` returns once the index hides what they name."""

    def __init__(self, writer: GroupCommit, pool: ReadPool, raise_fences: RaiseFences, announce: Announce) -> None:
        self._writer = writer
        self._pool = pool
        self._raise_fences = raise_fences
        self._announce = announce
        self._begun = asyncio.Event()

    async def begin(self, deleted: CollectionDeleted) -> None:
        """Return once the delete is stored; `run` does the rest."""
        key = f"collection {deleted.tenant} {deleted.collection}"
        await self._writer.run(key, partial(remember_delete, deleted=deleted))
        self._begun.set()

    async def catch_up(self, event: MessageEvent, collection: str) -> None:
        """Have the sweep come back for a document whose message intake saw later than the delete that outdates it.

        It is asked after the message is committed: the sweep, which looks after the delete is, then misses nothing.
        """
        floor = await self._pool.run(partial(floor_of, tenant=event.tenant, collection=collection))
        if floor > event.revision:
            key = f"collection {event.tenant} {collection}"
            unit = partial(rewind, tenant=event.tenant, collection=collection, document_id=event.document_id)
            await self._writer.run(key, unit)
            self._begun.set()

    async def run(self) -> None:
        """Work on every delete until cancelled; an outage only puts it off."""
        while True:
            self._begun.clear()
            try:
                await self._sweep_all()
            except (Unavailable, DeadlineExpired) as error:
                log.warning("sweep_put_off", reason=error)
                await asyncio.sleep(RETRY_SECONDS)
                self._begun.set()
            except Exception as error:  # Whatever it was, the next look must come, or no collection is ever deleted.
                log.error("sweep_fault", exc_info=error)
            await self._wait()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await self._begun.wait()
        except TimeoutError:
            return

    async def _sweep_all(self) -> None:
        """Do a page of each delete in turn, so that a small collection does not wait for a large one."""
        while sweeps := await self._pool.run(partial(unfinished, limit=COLLECTIONS_AT_ONCE)):
            for sweep in sweeps:
                await self._page(sweep)

    async def _page(self, sweep: Sweep) -> None:
        if sweep.swept_to is None:
            await self._hide(sweep)
        found = await self._pool.run(partial(to_sweep, sweep=sweep, limit=PAGE_DOCUMENTS))
        await asyncio.gather(*(self._delete(sweep, document_id) for document_id in found))
        done = len(found) < PAGE_DOCUMENTS
        key = f"collection {sweep.tenant} {sweep.collection}"
        await self._writer.run(key, partial(save_sweep, sweep=sweep, swept=found, done=done))
        if done:
            log.info("collection_deleted", tenant=sweep.tenant, collection=sweep.collection, revision=sweep.revision)

    async def _hide(self, sweep: Sweep) -> None:
        """Have the index hide the collection before anybody can read that a document of it is deleted."""
        fence = IndexFence(tenant=sweep.tenant, collection=sweep.collection, floor=sweep.revision)
        await self._raise_fences([fence])

    async def _delete(self, sweep: Sweep, document_id: str) -> None:
        unit = partial(sweep_document, sweep=sweep, document_id=document_id, at=datetime.now(UTC))
        await self._announce(await self._writer.run(key_of(sweep.tenant, document_id), unit))
