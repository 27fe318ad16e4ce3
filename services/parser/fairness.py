"""What lets tenants share one parser fairly, put together: turns at a short queue, and a lane past the backlog."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from contracts import topology
from services.parser.handlers import ParserHandlers
from services.parser.nats_chunks import NatsChunkQueue, hear_of_parsed
from services.parser.queue_room import QueueRoom
from services.parser.settings import ParserSettings
from services.parser.turns import Turns
from shared.messaging.backlog import NatsBacklog
from shared.messaging.early_work import EarlyWork
from shared.messaging.fair_lane import FairLane, Work, beside
from shared.metrics import FairnessMetrics
from shared.service import Service


@asynccontextmanager
async def fair_turns(service: Service, settings: ParserSettings, metrics: FairnessMetrics) -> AsyncIterator[Turns]:
    """Hand out turns at the queue of chunks until the service stops."""
    room = QueueRoom(ahead_seconds=settings.parser_ahead_seconds, floor_bytes=settings.parser_ahead_floor_bytes)
    queue = NatsChunkQueue(service.client, room)
    turns = Turns(queue.left, look_seconds=settings.parser_look_seconds, waited=metrics.turn_wait.record)

    async def close_when_stopping() -> None:
        await service.shutting_down.wait()
        turns.close()

    async with beside(close_when_stopping()):
        try:
            yield turns
        finally:
            turns.close()


@asynccontextmanager
async def fair_lane(
    service: Service,
    settings: ParserSettings,
    metrics: FairnessMetrics,
    handlers: ParserHandlers,
    turns: Turns,
    early: EarlyWork,
) -> AsyncIterator[None]:
    """Parse past the backlog of other tenants until the service stops."""
    work = Work(
        handle=handlers.on_early,
        next_of=turns.next_of,
        outcome=lambda outcome: metrics.early.add(1, {"outcome": outcome}),
    )
    lane = FairLane(
        NatsBacklog(service.client, topology.PARSER),
        work,
        early,
        at_once=settings.parser_early_documents,
        look_seconds=settings.parser_early_look_seconds,
    )
    await hear_of_parsed(service.client, early)
    async with beside(lane.run(service.shutting_down)):
        yield
