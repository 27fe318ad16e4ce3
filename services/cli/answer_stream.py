"""An answer as it is written: its events, each once and in order, across connections that break."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from services.cli.client import Gateway, GatewayUnreachable, Problem, problem_in

TERMINAL_EVENTS: Final = frozenset({"done", "error"})
# A gateway that is restarted is back within seconds; the agent waits 30 s for a reader.
MAX_ATTEMPTS: Final = 6
FIRST_PAUSE_SECONDS: Final = 0.25
# Heartbeats come far more often, so silence means that the line is dead.
SILENCE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event: its id, its type, its data."""

    id: str
    type: str
    data: dict[str, Any]


async def answer_events(gateway: Gateway, body: Mapping[str, Any]) -> AsyncGenerator[StreamEvent]:
    """Ask, and yield the events of the answer; `done` is the last one.

    A connection that breaks is resumed behind the last event. Problem says why there is no answer, GatewayUnreachable
    that the connection broke again and again, or before the question was accepted.
    """
    place = _Place()
    source = gateway.stream("POST", "/v1/query", body={**body, "stream": True}, silence_seconds=SILENCE_SECONDS)
    while True:
        try:
            async with aclosing(source), aclosing(_events(source)) as events:
                async for event in events:
                    place.reached(event)
                    if event.type == "error":
                        raise problem_in(event.data)
                    yield event
                    if event.type == "done":
                        return
        except (GatewayUnreachable, Problem) as error:
            if not place.may_resume(error):
                raise
        await asyncio.sleep(place.pause_seconds())
        source = gateway.stream("GET", place.path, headers=place.headers, silence_seconds=SILENCE_SECONDS)


class _Place:
    """How far the answer was read, and how often in a row it could not be read on."""

    def __init__(self) -> None:
        self._query_id = ""
        self._last_id = ""
        self._failures = 0
        self._ended = False

    @property
    def path(self) -> str:
        return f"/v1/queries/{quote(self._query_id, safe='')}/events"

    @property
    def headers(self) -> dict[str, str]:
        return {"Last-Event-ID": self._last_id}

    def reached(self, event: StreamEvent) -> None:
        if event.type == "accepted":
            self._query_id = str(event.data.get("id", ""))
        self._last_id, self._failures, self._ended = event.id, 0, event.type in TERMINAL_EVENTS

    def may_resume(self, error: GatewayUnreachable | Problem) -> bool:
        passing = not isinstance(error, Problem) or error.temporary
        return bool(self._query_id) and not self._ended and passing and self._failures < MAX_ATTEMPTS

    def pause_seconds(self) -> float:
        """Return how long to wait before the next try; GatewayUnreachable when there were enough."""
        if self._failures >= MAX_ATTEMPTS or not self._query_id:
            raise GatewayUnreachable("the connection broke before the answer ended; ask again")
        self._failures += 1
        return float(FIRST_PAUSE_SECONDS * 2 ** (self._failures - 1))


async def _events(source: AsyncIterator[bytes]) -> AsyncGenerator[StreamEvent]:
    """Yield the events in a stream of bytes; an event that is cut off at the end is none."""
    pending = b""
    async for piece in source:
        *blocks, pending = (pending + piece).split(b"\n\n")
        for block in blocks:
            # By bytes: text lines end at characters that may stand in the data, such as U+2028.
            fields = dict(line.partition(b": ")[::2] for line in block.split(b"\n") if not line.startswith(b":"))
            if b"data" in fields:
                kind, data = fields.get(b"event", b"").decode(), json.loads(fields[b"data"])
                yield StreamEvent(fields.get(b"id", b"").decode(), kind, data)
