"""A streamed chat completion as server-sent events: `data: {chunk}` for each chunk, then `data: [DONE]`.

What fails before anything was sent is an ordinary error with its status, which clients repeat by themselves. A later
failure takes the place of `[DONE]`, in the form that clients raise as an error.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Final

from contracts.queries import AnswerEvent
from services.gateway.answer_streams import Events
from services.gateway.answers import error_in
from services.gateway.event_stream import HEARTBEAT
from services.gateway.openai_wire.chunks import ChatChunks
from services.gateway.openai_wire.errors import openai_error
from services.gateway.problems import problem_document
from services.gateway.replies import json_bytes
from shared.errors import PlatformError, Unavailable
from shared.telemetry import current_trace_id

DONE: Final = b"data: [DONE]\n\n"


async def chunk_events(
    events: Events, chunks: ChatChunks, require_sources: Callable[[], Awaitable[None]]
) -> AsyncGenerator[bytes]:
    """Yield the events of a completion; `require_sources` raises when there is nothing that could hold an answer."""
    begun, trace_id = False, current_trace_id()
    async with aclosing(events):
        await anext(events)
        try:
            async for event in events:
                if event is None:
                    begun = True
                    yield HEARTBEAT
                    continue
                if event.type == "error":
                    raise error_in(event.data)
                if _found_nothing(event):
                    await require_sources()
                for chunk in chunks.of(event):
                    begun = True
                    yield b"data: %s\n\n" % json_bytes(chunk)
            if not chunks.complete:
                raise Unavailable("the gateway is being replaced in the middle of the answer; ask again")
            yield DONE
        except PlatformError as error:
            if not begun:
                raise
            yield b"data: %s\n\n" % json_bytes(openai_error(problem_document(error, trace_id)))


def _found_nothing(event: AnswerEvent) -> bool:
    if event.type == "retrieval":
        return not event.data.get("hits")
    return event.type == "done" and not event.data.get("answered")
