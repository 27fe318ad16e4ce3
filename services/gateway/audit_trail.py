"""Tells what callers do as facts, beside their requests: a request neither waits for its fact nor fails with it.

What many do alike is told once a minute, and all of it is bounded: what does not fit is counted, and said in the log.
"""

import asyncio
import uuid
from collections.abc import Iterator
from itertools import count
from typing import Any, Final

from cachetools import TTLCache
from opentelemetry.metrics import Counter, Meter
from starlette.types import Scope as AsgiScope

from contracts.audit import AuditFact, AuthFailed, KeyUsed
from contracts.facts import SUBJECT_OF_FACT
from services.gateway.audit_rules import kind_of, only_looks
from services.gateway.authentication import Unauthenticated
from services.gateway.principal import DEFAULT_TENANT, Principal
from shared.logs import get_logger
from shared.messaging.publishing import Publisher
from shared.telemetry import current_trace_id

log = get_logger(__name__)

ONCE_SECONDS: Final = 60.0
MAX_ALIKE: Final = 10_000
MAX_WAITING: Final = 1_000
# Of each reason within a minute: whoever tries keys by the thousand shall push nothing else out of the audit.
MAX_FAILURES: Final = 30
MAX_REASONS: Final = 100
FLUSH_SECONDS: Final = 2.0
_MAX_TARGET_CHARACTERS: Final = 256


def lost_facts(meter: Meter) -> Counter:
    """Return the instrument that counts what did not get into the audit."""
    return meter.create_counter("rag.audit.lost", description="Facts for the audit that were not published.")


class AuditTrail:
    """Publishes facts while `run` runs."""

    def __init__(self, publisher: Publisher, lost: Counter) -> None:
        self._publisher = publisher
        self._lost = lost
        self._waiting: asyncio.Queue[AuditFact] = asyncio.Queue(MAX_WAITING)
        self._alike: TTLCache[tuple[Any, ...], bool] = TTLCache(MAX_ALIKE, ONCE_SECONDS)
        # Apart from the others: who tries many keys shall not have the uses of good ones told again and again.
        self._tried: TTLCache[tuple[Any, ...], bool] = TTLCache(MAX_ALIKE, ONCE_SECONDS)
        self._failures: TTLCache[str, Iterator[int]] = TTLCache(MAX_REASONS, ONCE_SECONDS)

    def failed(self, scope: AsgiScope, error: Unauthenticated) -> None:
        """Tell of a request that nobody is known to have sent; it belongs to the operator unless a key was proven."""
        address = _address(scope)
        if not _first(self._tried, (error.reason, error.key_id, address)):
            return
        if next(self._failures.setdefault(error.reason, count())) >= MAX_FAILURES:
            return
        tenant = error.tenant or DEFAULT_TENANT
        self._tell(
            AuthFailed,
            scope,
            tenant=tenant,
            actor=error.key_id,
            status=401,
            reason=error.reason,
            route=None,
            address=address,
        )

    def used(self, scope: AsgiScope, principal: Principal) -> None:
        """Tell of the use of a key."""
        if principal.key_id is not None and _first(self._alike, ("used", principal.tenant, principal.key_id)):
            address = _address(scope)
            self._tell(KeyUsed, scope, tenant=principal.tenant, actor=principal.key_id, address=address, route=None)

    def answered(self, scope: AsgiScope, principal: Principal, status: int) -> None:
        """Tell of a request that was answered, where it is one for the audit."""
        method, route = scope["method"], scope.get("route")
        kind = kind_of(method, route, status)
        if kind is None:
            return
        path = str(getattr(route, "path", ""))
        target = {name: str(value)[:_MAX_TARGET_CHARACTERS] for name, value in scope.get("path_params", {}).items()}
        alike = (principal.tenant, principal.key_id, method, path, status)
        if only_looks(method) and not _first(self._alike, alike):
            return
        self._tell(
            kind, scope, tenant=principal.tenant, actor=principal.key_id, route=path, target=target, status=status
        )

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            fact = await self._waiting.get()
            try:
                await self._publish(fact)
            except asyncio.CancelledError:
                self._lose(fact, "the gateway ended")
                raise
            self._waiting.task_done()

    async def flush(self) -> None:
        """Have what still waits published, for a moment; what is left then is lost and said so."""
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await self._waiting.join()
        except TimeoutError:
            while not self._waiting.empty():
                self._lose(self._waiting.get_nowait(), "the gateway ended")

    def _tell(self, kind: type[AuditFact], scope: AsgiScope, **fields: Any) -> None:
        fact = kind(audit_id=uuid.uuid4().hex, method=scope["method"], trace_id=current_trace_id(), **fields)
        try:
            self._waiting.put_nowait(fact)
        except asyncio.QueueFull:
            self._lose(fact, "too many wait to be published")

    async def _publish(self, fact: AuditFact) -> None:
        subject = SUBJECT_OF_FACT[type(fact)]
        try:
            await self._publisher.publish(subject, fact, tenant=fact.tenant, message_id=fact.audit_id)
        except Exception as error:  # The boundary: what one fact fails with must not end the audit.
            self._lose(fact, error)

    def _lose(self, fact: AuditFact, reason: str | Exception) -> None:
        self._lost.add(1)
        log.error("audit_fact_lost", why=reason, **fact.model_dump(mode="json", exclude={"schema_version"}))


def _first(seen: TTLCache[tuple[Any, ...], bool], alike: tuple[Any, ...]) -> bool:
    if alike in seen:
        return False
    seen[alike] = True
    return True


def _address(scope: AsgiScope) -> str | None:
    client = scope.get("client")
    return str(client[0]) if client else None
