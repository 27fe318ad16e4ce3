"""What is answered about API keys, and how gateways hear of changes.

Every change is told to all gateways at once. Those that another process wrote, a replica or `rag keys … --data`, are
found by looking at the last version a few times a second.
"""

import asyncio
from datetime import UTC, datetime
from functools import partial
from typing import Final

from nats.aio.client import Client
from nats.errors import Error as NatsError

from contracts import subjects
from contracts.audit import AuditFact
from contracts.codec import encode
from contracts.facts import SUBJECT_OF_FACT
from contracts.keys import KeyChanges, KeyChangesQuery, KeyCreate, KeyListQuery, KeyPage, KeyRevoke, KeyView
from services.persistence import api_keys
from services.persistence.api_keys import WRITING_KEYS
from services.persistence.read_pool import ReadPool
from services.persistence.unit_of_work import GroupCommit
from shared.errors import Unavailable
from shared.logs import get_logger
from shared.messaging.publishing import Publisher
from shared.service import Service
from shared.telemetry import current_trace_id

log = get_logger(__name__)

# Half of the second within which a revoked key is refused everywhere.
LOOK_SECONDS: Final = 0.4


class KeyHandlers:
    """One method per request; each tells the gateways after its commit."""

    def __init__(self, writer: GroupCommit, pool: ReadPool, publisher: Publisher, changed: asyncio.Event) -> None:
        self._writer = writer
        self._pool = pool
        self._publisher = publisher
        self._changed = changed

    async def on_create(self, request: KeyCreate, _deadline: float | None) -> KeyView:
        """Keep a key."""
        unit = partial(api_keys.create, request=request, at=datetime.now(UTC), trace_id=current_trace_id())
        return await self._told(*await self._writer.run(WRITING_KEYS, unit))

    async def on_revoke(self, request: KeyRevoke, _deadline: float | None) -> KeyView:
        """Have a key refused."""
        unit = partial(api_keys.revoke, request=request, at=datetime.now(UTC), trace_id=current_trace_id())
        return await self._told(*await self._writer.run(WRITING_KEYS, unit))

    async def on_list(self, query: KeyListQuery, _deadline: float | None) -> KeyPage:
        """Return a page of keys."""
        return await self._pool.run(partial(api_keys.page, query=query))

    async def on_changes(self, query: KeyChangesQuery, _deadline: float | None) -> KeyChanges:
        """Return what changed behind a version."""
        return await self._pool.run(partial(api_keys.changes, after=query.after))

    async def _told(self, view: KeyView, facts: list[AuditFact]) -> KeyView:
        self._changed.set()
        for fact in facts:
            try:
                message_id = f"{fact.audit_id}:{fact.tenant}"
                subject = SUBJECT_OF_FACT[type(fact)]
                await self._publisher.publish(subject, fact, tenant=fact.tenant, message_id=message_id)
            except Unavailable as error:
                # It is in the audit already, which the commit has seen to; only other readers of facts miss it.
                log.warning("key_fact_not_published", audit_id=fact.audit_id, reason=error)
        return view


class KeyChangeTeller:
    """Tells gateways of changed keys until cancelled; `changed` wakes it early."""

    def __init__(self, client: Client, pool: ReadPool, changed: asyncio.Event) -> None:
        self._client = client
        self._pool = pool
        self._changed = changed
        self._told_version: int | None = None

    async def run(self) -> None:
        """Look and tell; an outage only puts it off."""
        while True:
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                pass
            self._changed.clear()
            try:
                await self._tell()
            except (Unavailable, NatsError) as error:
                log.debug("key_changes_not_told", reason=error)

    async def _tell(self) -> None:
        if self._told_version is None:
            # What changed while nobody looked: an empty word has the gateways ask for it. The version is read before,
            # so that what changes in between is told as well.
            version = await self._pool.run(api_keys.last_version)
            await self._publish(KeyChanges(keys=[]))
            self._told_version = version
            return
        while True:
            found = await self._pool.run(partial(api_keys.changes, after=self._told_version))
            if not found.keys:
                return
            await self._publish(found)
            self._told_version = found.keys[-1].version
            if not found.more:
                return

    async def _publish(self, changes: KeyChanges) -> None:
        await self._client.publish(subjects.KEYS_CHANGED, encode(changes))


def serve_keys(service: Service, writer: GroupCommit, pool: ReadPool) -> KeyChangeTeller:
    """Bind what is about keys; return what tells of their changes."""
    changed = asyncio.Event()
    handlers = KeyHandlers(writer, pool, service.publisher, changed)
    service.respond(subjects.KEYS_CREATE, KeyCreate, handlers.on_create)
    service.respond(subjects.KEYS_REVOKE, KeyRevoke, handlers.on_revoke)
    service.respond(subjects.KEYS_LIST, KeyListQuery, handlers.on_list)
    service.respond(subjects.KEYS_CHANGES, KeyChangesQuery, handlers.on_changes)
    return KeyChangeTeller(service.client, pool, changed)
