"""What lets tenants share one parser fairly, put together: turns at a short queue, and a lane past the backlog."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

from services.parser.early_work import EarlyWork
from services.parser.fair_lane import FairLane, Work
from services.parser.handlers import ParserHandlers
from services.parser.nats_backlog import NatsBacklog, NatsChunkQueue, hear_of_parsed
from services.parser.queue_room import QueueRoom
from services.parser.settings import ParserSettings
from services.parser.turns import Turns
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

    async with _beside(close_when_stopping()):
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
        parse=handlers.on_early,
        is_served=handlers.is_served,
        next_of=turns.next_of,
        outcome=lambda outcome: metrics.early.add(1, {"outcome": outcome}),
    )
    lane = FairLane(
        NatsBacklog(service.client),
        work,
        early,
        documents=settings.parser_early_documents,
        look_seconds=settings.parser_early_look_seconds,
    )
    await hear_of_parsed(service.client, early)
    async with _beside(lane.run(handlers.is_busy, service.shutting_down)):
        yield


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run work beside the block and end it with the block."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
