"""Reading server-sent events as a client does, and serving an app over real connections for it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import uvicorn
from starlette.types import ASGIApp

from tests.running import eventually
from tests.servers import free_port

PATIENCE_SECONDS = 15.0


@dataclass(frozen=True)
class Event:
    """One event as it was read."""

    id: str
    type: str
    data: Any


@dataclass
class Reading:
    """An open stream; `comments` counts the heartbeats so far."""

    response: httpx.Response
    comments: int = 0
    _lines: AsyncIterator[str] | None = None
    events: list[Event] = field(default_factory=list)

    async def next(self) -> Event | None:
        """Return the next event, None at the end of the stream; TimeoutError when neither comes."""
        if self._lines is None:
            self._lines = self.response.aiter_lines()
        fields: dict[str, str] = {}
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for line in self._lines:
                if line.startswith(":"):
                    self.comments += 1
                elif line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif fields:
                    event = Event(fields["id"], fields["event"], json.loads(fields["data"]))
                    self.events.append(event)
                    return event
        assert not fields, "the stream ended in the middle of an event"
        return None

    async def until(self, kind: str) -> Event:
        """Return the next event of a type."""
        while event := await self.next():
            if event.type == kind:
                return event
        raise AssertionError(f"the stream ended without {kind}: {self.events}")

    async def rest(self) -> list[Event]:
        """Return every event up to the end of the stream."""
        found = []
        while event := await self.next():
            found.append(event)
        return found


@asynccontextmanager
async def reading(
    http: httpx.AsyncClient, method: str, path: str, *, json: Any = None, last_event_id: object = None
) -> AsyncIterator[Reading]:
    """Open a stream; leaving the block closes it, wherever it is."""
    headers = {} if last_event_id is None else {"Last-Event-ID": str(last_event_id)}
    async with http.stream(method, path, json=json, headers=headers) as response:
        yield Reading(response)


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[httpx.AsyncClient]:
    """Serve a running app on a port, with the server that the services have."""
    port = free_port()
    config = uvicorn.Config(app, port=port, lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(server._serve())
    await eventually(lambda: server.started, "the app is served")
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_SECONDS) as http:
            yield http
    finally:
        server.should_exit = server.force_exit = True
        await task
