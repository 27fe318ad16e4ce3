"""Server-sent events over HTTP."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final, Self

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from services.gateway.replies import json_bytes

HEARTBEAT: Final = b": still here\n\n"


def event_bytes(number: int, event: str, data: Any) -> bytes:
    """Return one event; its data is JSON on one line."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (number, event.encode(), json_bytes(data))


class EventStream(StreamingResponse):
    """Sends events one at a time, each once the one before it was taken, and closes their source however it ends."""

    media_type = "text/event-stream"

    def __init__(self, first: bytes, rest: AsyncGenerator[bytes]) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(_chained(first, rest), headers=headers)
        self._rest = rest

    @classmethod
    async def begin(cls, events: AsyncGenerator[bytes]) -> Self:
        """Return the answer once the first event is there, so that what is raised instead can still be a problem."""
        return cls(await anext(events), events)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream."""
        async with aclosing(self._rest):
            await super().__call__(scope, receive, send)


async def _chained(first: bytes, rest: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    yield first
    async for event in rest:
        yield event
