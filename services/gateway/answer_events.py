"""The events of an answer as callers see them.

accepted  {"id", "trace_id"}
retrieval {"hits": [{"document_id", "chunk_id", "title", "score"}], "took_ms": {…}}
delta     {"text"}
step      {"kind": "restarted"}: the text so far no longer counts; other kinds tell what the agent did
citations {"citations": [Citation…]}
done      the same object as the reply to a question that is not streamed
error     a problem, as in the reply to a request that failed
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from contracts.codec import first_problem
from contracts.queries import Answer, AnswerEvent
from services.gateway.answer_streams import Events
from services.gateway.answers import error_in
from services.gateway.event_stream import HEARTBEAT, event_bytes
from services.gateway.problems import problem_document
from services.gateway.schemas import QueryAnswer
from shared.errors import PlatformError, RemoteFault

Check = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Telling:
    """What is told beside the events themselves; `require_sources` raises when there was nothing to look into."""

    query_id: str
    trace_id: str
    conversation_id: str | None = None
    require_sources: Check | None = None


def query_answer(answer: Answer, telling: Telling) -> QueryAnswer:
    """Return the reply to a question."""
    fields = {**dict(answer), "conversation_id": answer.conversation_id or telling.conversation_id}
    return QueryAnswer.model_construct(id=telling.query_id, **fields, trace_id=telling.trace_id)


async def told(events: Events, telling: Telling, *, behind: int = 0) -> AsyncGenerator[bytes]:
    """Yield server-sent events, whose ids are the events' own numbers, and heartbeats, one of them first.

    What the first item of `events` raises is raised. A later failure is an `error` event with the id of the event
    before it (the first one is behind `behind`): whoever comes back misses nothing.
    """
    number = behind
    async with aclosing(events):
        await anext(events)
        yield HEARTBEAT
        try:
            async for event in events:
                yield HEARTBEAT if event is None else event_bytes(event.sequence, *await _shown(event, telling))
                number = event.sequence if event is not None else number
        except PlatformError as error:
            yield event_bytes(number, "error", problem_document(error, telling.trace_id))


async def _shown(event: AnswerEvent, telling: Telling) -> tuple[str, Any]:
    if event.type == "accepted":
        return event.type, {"id": telling.query_id, "trace_id": telling.trace_id}
    try:
        if event.type == "error":
            raise error_in(event.data)
        if event.type == "done":
            answer = _answer_in(event)
            if not answer.answered and telling.require_sources is not None:
                await telling.require_sources()
            return event.type, query_answer(answer, telling).model_dump(mode="json")
    except PlatformError as error:
        return "error", problem_document(error, telling.trace_id)
    return event.type, event.data


def _answer_in(event: AnswerEvent) -> Answer:
    try:
        return Answer.model_validate(event.data)
    except ValidationError as error:
        raise RemoteFault(f"the answer breaks its schema: {first_problem(error)}") from None
