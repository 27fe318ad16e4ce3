"""What is kept and answered about who did what."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import cast

from contracts import subjects
from contracts.audit import AuditFact, AuditPage, AuditQuery
from contracts.codec import decode
from contracts.facts import FACT_TYPES
from services.persistence import audit_log
from services.persistence.read_pool import ReadPool
from services.persistence.unit_of_work import GroupCommit
from shared.logs import get_logger
from shared.messaging.delivery import Delivery
from shared.service import Service

log = get_logger(__name__)
OnFact = Callable[[Delivery], Awaitable[None]]


class AuditHandlers:
    """Keeps facts, each once however often it comes, and answers who asks for them."""

    def __init__(self, writer: GroupCommit, pool: ReadPool) -> None:
        self._writer = writer
        self._pool = pool

    async def on_read(self, query: AuditQuery, _deadline: float | None) -> AuditPage:
        """Return a page of what happened in a tenant."""
        return await self._pool.run(partial(audit_log.page, query=query))

    async def keep(self, delivery: Delivery) -> None:
        """Store a fact; one of a kind that a later release made up is left to that release."""
        kind = FACT_TYPES.get(delivery.subject)
        if kind is None:
            log.warning("audit_fact_of_unknown_kind", subject=delivery.subject)
            return
        fact = cast("AuditFact", decode(kind, delivery.payload))
        await self._writer.run(f"audit\n{fact.audit_id}", partial(audit_log.keep, fact=fact))

    def facts(self, otherwise: OnFact) -> OnFact:
        """Return what takes every fact: those for the audit go here, `otherwise` takes the rest."""

        async def on_fact(delivery: Delivery) -> None:
            is_audit = delivery.subject.startswith(subjects.AUDIT_PREFIX)
            await (self.keep(delivery) if is_audit else otherwise(delivery))

        return on_fact


def serve_audit(service: Service, writer: GroupCommit, pool: ReadPool) -> AuditHandlers:
    """Bind what is about the audit; return what takes its facts."""
    handlers = AuditHandlers(writer, pool)
    service.respond(subjects.READ_AUDIT, AuditQuery, handlers.on_read)
    return handlers
