"""Intake past a backlog: a tenant's document is recorded while another tenant's thousands wait in front of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

from opentelemetry.trace import Tracer

from contracts import topology
from services.persistence.handlers import MessageHandlers
from services.persistence.settings import PersistenceSettings
from shared.errors import InvalidMessage
from shared.messaging.backlog import NatsBacklog
from shared.messaging.delivery import Delivery
from shared.messaging.early_work import EarlyWork
from shared.messaging.fair_lane import FairLane, WaitingMessage, Work, beside
from shared.messaging.spans import process_span
from shared.service import Service


class EarlyIntake:
    """Records messages out of turn; recording one a second time changes nothing, and is left out where it is known."""

    def __init__(self, handlers: MessageHandlers, tracer: Tracer) -> None:
        self._handlers, self._tracer = handlers, tracer
        self._turns: dict[str, int] = {}
        self._number = count(1)
        self.early = EarlyWork()

    async def on_ingest(self, delivery: Delivery) -> None:
        """Record a message that the durable gave out."""
        try:
            tenant = delivery.tenant
        except InvalidMessage:
            tenant = ""
        with self.early.serving(tenant, delivery.sequence):
            if not await self.early.was_done(delivery.sequence):
                await self._handlers.on_ingest(delivery)

    async def on_early(self, waiting: WaitingMessage) -> None:
        """Record a message that the durable has yet to give out."""
        delivery = waiting.as_delivery(topology.INTAKE)
        with process_span(self._tracer, delivery):
            await self._handlers.on_ingest(delivery)

    def next_of(self, tenants: list[str]) -> str:
        """Return the tenant whose turn is longest ago."""
        tenant = min(tenants, key=lambda name: self._turns.get(name, 0))
        self._turns = {name: self._turns.get(name, 0) for name in tenants} | {tenant: next(self._number)}
        return tenant


@asynccontextmanager
async def early_intake(service: Service, intake: EarlyIntake, settings: PersistenceSettings) -> AsyncIterator[None]:
    """Record past the backlog of other tenants until the service stops."""
    lane = FairLane(
        NatsBacklog(service.client, topology.INTAKE),
        Work(handle=intake.on_early, next_of=intake.next_of, outcome=lambda _: None),
        intake.early,
        at_once=settings.persistence_early_messages,
        look_seconds=settings.persistence_early_look_seconds,
    )
    async with beside(lane.run(service.shutting_down)):
        yield
