"""One subscription to the facts about documents, shared by all who wait, and held only while somebody does."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from contracts import subjects
from contracts.codec import DecodeError, decode
from contracts.facts import FACT_TYPES
from services.gateway.waiting import Watch, Watches, change_of
from shared.errors import Unavailable
from shared.logs import get_logger
from shared.messaging.broker import DEFAULT_PENDING, PendingLimits

log = get_logger(__name__)

SUBJECTS: Final = (
    subjects.DOCUMENT_ACCEPTED,
    subjects.DOCUMENT_PARSED,
    subjects.DOCUMENT_INDEXED,
    subjects.DOCUMENT_DELETED,
    subjects.DOCUMENT_FAILED,
)


class DocumentNotices:
    """Lets callers watch documents."""

    def __init__(self, client: Client, pending: PendingLimits = DEFAULT_PENDING) -> None:
        self._pending = pending
        self._client = client
        self._watches = Watches()
        self._subscriptions: list[Subscription] = []
        self._changing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def listening(self) -> bool:
        """Tell whether the facts are subscribed to now."""
        return bool(self._subscriptions)

    @asynccontextmanager
    async def watching(self, tenant: str, document_ids: Collection[str]) -> AsyncIterator[Watch]:
        """Watch documents while the block runs; what is published on this connection after that is not missed."""
        watch = self._watches.add(tenant, document_ids)
        try:
            await self._listen()
            yield watch
        finally:
            self._watches.remove(watch, tenant, document_ids)
            if not self._watches:
                self._rest_soon()

    async def end_with(self, shutting_down: asyncio.Event) -> None:
        """End every watch as soon as the process begins to shut down."""
        await shutting_down.wait()
        self._watches.end()

    async def close(self) -> None:
        """Wait until nothing is left to be unsubscribed."""
        await asyncio.gather(*self._tasks)

    async def _listen(self) -> None:
        async with self._changing:
            if self._subscriptions:
                return
            try:
                for subject in SUBJECTS:
                    self._subscriptions.append(await self._pending.subscribe(self._client, subject, self._receive))
            except NatsError as error:
                await self._unsubscribe()
                raise Unavailable(f"the broker does not answer: {type(error).__name__}") from error

    def _rest_soon(self) -> None:
        # In a task of its own: the caller that leaves may be one that is being cancelled.
        task = asyncio.create_task(self._rest())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _rest(self) -> None:
        async with self._changing:
            if not self._watches:
                await self._unsubscribe()

    async def _unsubscribe(self) -> None:
        while self._subscriptions:
            with suppress(NatsError):
                await self._subscriptions.pop().unsubscribe()

    async def _receive(self, message: Msg) -> None:
        try:
            fact = decode(FACT_TYPES[message.subject], message.data)
        except DecodeError as error:
            log.warning("fact_not_readable", subject=message.subject, reason=error)
            return
        change = change_of(fact)
        if change is not None:
            self._watches.notify(fact.tenant, change)
