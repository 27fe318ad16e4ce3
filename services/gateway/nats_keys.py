"""How a gateway learns of keys: changes are told to it, and it asks for them now and then, and for a key it can't find.

Nobody waits for the database: a key that is known is checked in memory. What is known may be used for `stale_seconds`
after persistence was heard last; then every key is refused with 503 until it is heard again.
"""

import asyncio
import time
from contextlib import suppress
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg

from contracts import subjects
from contracts.codec import DecodeError, decode
from contracts.keys import KeyChanges, KeyChangesQuery
from services.gateway.key_ring import KeyRing
from shared.errors import PlatformError, Unavailable
from shared.logs import get_logger
from shared.messaging.broker import DEFAULT_PENDING, PendingLimits
from shared.messaging.requests import Requester

log = get_logger(__name__)

# However many keys are tried that nobody knows, persistence is asked no more often than this.
LEAST_PAUSE_SECONDS: Final = 0.25
_LOOK_SECONDS: Final = 0.5


class KeyFeed:
    """Keeps a ring up to date while `run` runs."""

    def __init__(
        self,
        client: Client,
        requester: Requester,
        ring: KeyRing,
        *,
        refresh_seconds: float,
        stale_seconds: float,
        pending: PendingLimits = DEFAULT_PENDING,
    ) -> None:
        self._client = client
        self._requester = requester
        self._ring = ring
        self._refresh_seconds = refresh_seconds
        self._stale_seconds = stale_seconds
        self._pending = pending
        self._asking = asyncio.Lock()
        self._asked_at = float("-inf")
        self._heard_at = float("-inf")
        self._failed_at = float("-inf")
        self._failure: PlatformError | None = None
        self._behind = asyncio.Event()

    @property
    def is_stale(self) -> bool:
        """Tell whether what is known is too old to be used."""
        return time.monotonic() - self._heard_at > self._stale_seconds

    async def run(self) -> None:
        """Follow the changes until cancelled."""
        subscription = await self._pending.subscribe(self._client, subjects.KEYS_CHANGED, self._on_changed)
        try:
            await self._keep_asking()
        finally:
            with suppress(Exception):  # The connection may be gone already.
                await subscription.unsubscribe()

    async def catch_up(self) -> None:
        """Return once everything that was changed before now is known; Unavailable when it can't be.

        Callers at the same time share one question.
        """
        wanted = time.monotonic()
        async with self._asking:
            if self._failure is not None and self._failed_at >= wanted:
                raise self._failure
            if self._heard_at >= wanted:
                return
            await asyncio.sleep(max(0.0, self._asked_at + LEAST_PAUSE_SECONDS - time.monotonic()))
            self._asked_at = time.monotonic()
            try:
                await self._ask()
            except (PlatformError, DecodeError) as error:
                self._failed_at, self._failure = time.monotonic(), _away(error)
                raise self._failure from error
            self._heard_at, self._failure = self._asked_at, None

    async def _ask(self) -> None:
        more = True
        while more:
            query = KeyChangesQuery(after=self._ring.version)
            found = await self._requester.ask(subjects.KEYS_CHANGES, query, KeyChanges)
            if found.version is not None and found.version < self._ring.version:
                # A database that was restored: what was made and revoked since then is not in it.
                log.warning("keys_learned_anew", known_version=self._ring.version, found_version=found.version)
                self._ring.forget()
                continue
            self._ring.take_in_order(found.keys)
            more = found.more
        if self._ring.overflown:
            log.error("too_many_keys", known=len(self._ring), hint="raise RAG_GATEWAY_MAX_KEYS")

    async def _keep_asking(self) -> None:
        next_at, reconnects = 0.0, 0
        while True:
            if self._behind.is_set() or time.monotonic() >= next_at or self._reconnects != reconnects:
                self._behind.clear()
                next_at, reconnects = time.monotonic() + self._refresh_seconds, self._reconnects
                if not await self._caught_up():
                    next_at = time.monotonic() + _LOOK_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._behind.wait()

    async def _caught_up(self) -> bool:
        told_before = self._failure is not None
        try:
            await self.catch_up()
        except PlatformError as error:
            if not told_before:
                log.warning("keys_not_heard_of", reason=error)
            return False
        if told_before:
            log.info("keys_heard_of_again", known=len(self._ring))
        return True

    @property
    def _reconnects(self) -> int:
        """Return how often the connection was lost: what was told meanwhile was told to nobody."""
        return int(self._client.stats["reconnects"])

    async def _on_changed(self, message: Msg) -> None:
        try:
            changes = decode(KeyChanges, message.data)
        except DecodeError as error:
            log.warning("key_changes_not_readable", reason=error)
            return
        for check in changes.keys:
            self._ring.take(check)
        self._behind.set()


def _away(error: PlatformError | DecodeError) -> Unavailable:
    return Unavailable(f"it cannot be known now who this is: {error}", code="keys_unavailable")
