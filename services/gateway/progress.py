"""The event stream of one document: one event per state change, until a terminal state."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from contracts.reads import TERMINAL_STATUSES, ChunkCounts
from services.gateway.nats_notices import DocumentNotices
from services.gateway.replies import json_bytes
from services.gateway.seats import Seats
from services.gateway.waiting import Change, Look, Watch, change_in

HEARTBEAT: Final = b": still here\n\n"


class DocumentProgress:
    """Streams the states of documents; times in seconds. `counted` is entered for as long as one is open."""

    def __init__(
        self,
        notices: DocumentNotices,
        seats: Seats,
        *,
        heartbeat_seconds: float,
        max_stream_seconds: float,
        counted: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._counted = counted
        self._notices = notices
        self._seats = seats
        self._heartbeat_seconds = heartbeat_seconds
        self._max_stream_seconds = max_stream_seconds

    async def events(self, tenant: str, document_id: str, look: Look) -> AsyncGenerator[bytes, None]:
        """Yield server-sent events, the present state first; ends at a terminal state, in time, or with the process.

        A caller whose stream ends before the document's end connects again and gets the state there is then.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._max_stream_seconds
        with self._seats.taken(), self._counted():
            async with self._notices.watching(tenant, [document_id]) as watch:
                states = _States()
                event = states.enter(await _recorded(look, document_id))
                while True:
                    yield event or HEARTBEAT
                    if states.ended or watch.ended or clock() >= deadline:
                        return
                    event = await self._next(states, watch, look, document_id, deadline - clock())

    async def _next(
        self, states: "_States", watch: Watch, look: Look, document_id: str, remaining_seconds: float
    ) -> bytes | None:
        """Return the next event, None when a heartbeat is due; then what is recorded counts as well."""
        patience_seconds = min(self._heartbeat_seconds, remaining_seconds)
        while change := await watch.next(patience_seconds):
            if event := states.enter(change):
                return event
        return states.enter(await _recorded(look, document_id))


class _States:
    """Turns changes into numbered events; what is older than the state reached is no event."""

    def __init__(self) -> None:
        self._reached: Change | None = None
        self._number = 0

    @property
    def ended(self) -> bool:
        return self._reached is not None and self._reached.status in TERMINAL_STATUSES

    def enter(self, change: Change | None) -> bytes | None:
        if change is None or not self._is_news(change):
            return None
        self._reached = change
        self._number += 1
        return _event(self._number, change)

    def _is_news(self, change: Change) -> bool:
        reached = self._reached
        if reached is None or change.revision > reached.revision:
            return True
        return change.revision == reached.revision and _ORDER[change.status] > _ORDER[reached.status]


_ORDER: Final = {"accepted": 0, "processing": 1, "indexed": 2, "failed": 2, "deleted": 2}


async def _recorded(look: Look, document_id: str) -> Change | None:
    view = await look(document_id)
    return change_in(view) if view is not None else None


def _event(number: int, change: Change) -> bytes:
    data = {
        "id": change.document_id,
        "revision": change.revision,
        "status": change.status,
        "chunks": (change.chunks or ChunkCounts()).model_dump(),
        "error": change.error.model_dump() if change.error else None,
    }
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (number, change.status.encode(), json_bytes(data))
