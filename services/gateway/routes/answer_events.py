"""Answers as streams of server-sent events: of a question asked now, and of one whose reader comes back."""

from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header
from starlette.responses import Response

from contracts.queries import AskQuestion
from services.gateway.answer_events import Telling, told
from services.gateway.event_stream import EventStream
from services.gateway.gateway import Gateway, GatewayOf
from services.gateway.openapi import EVENT_STREAM, PROBLEMS
from services.gateway.principal import Scope, needs
from services.gateway.problems import invalid_request
from services.gateway.tenancy import Tenant
from shared.telemetry import current_trace_id

router = APIRouter(tags=["questions"], responses=PROBLEMS, dependencies=[needs(Scope.QUERY)])

MAX_EVENT_ID_DIGITS: Final = 9
ANSWER_STREAM: Final[dict[str, Any]] = {
    "description": "`accepted`, (`step` | `retrieval` | `delta`)*, `citations`, `done`, or `error` at any point. "
    "`done` holds a QueryAnswer, `error` a Problem. An event's `id` is its number; `Last-Event-ID` resumes behind it.",
    "content": EVENT_STREAM,
}


async def stream_answer(gateway: Gateway, question: AskQuestion) -> Response:
    """Return the stream of a question's answer once it is stored."""
    telling = Telling(
        question.query_id,
        current_trace_id(),
        question.conversation_id,
        _require_collection(gateway, question.tenant, question.collection),
    )
    return await EventStream.begin(told(gateway.questions.stream(question), telling))


@router.get(
    "/v1/queries/{query_id}/events",
    summary="Go on reading an answer",
    status_code=200,
    response_class=EventStream,
    responses={200: ANSWER_STREAM, 204: {"description": "The answer has ended, and all of it was read."}},
)
async def resume_answer(
    query_id: str,
    tenant: Tenant,
    gateway: GatewayOf,
    last_event_id: Annotated[str, Header(description="The last event that was read; 0 = from the beginning.")] = "0",
) -> Response:
    """Stream what comes behind an event of an answer, then what is new; answers are kept for five minutes."""
    behind = _event_number(last_event_id)
    place = await gateway.answer_streams.find(tenant, query_id, behind)
    if place is None:
        return Response(status_code=204)
    telling = Telling(query_id, place.trace_id, require_sources=_require_collection(gateway, tenant, place.collection))
    return await EventStream.begin(told(gateway.answer_streams.resume(place), telling, behind=behind))


def _require_collection(gateway: Gateway, tenant: str, collection: str | None) -> Any:
    return None if collection is None else partial(gateway.reads.require_collection, tenant, collection)


def _event_number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= MAX_EVENT_ID_DIGITS):
        raise invalid_request(f"must be the id of an event, such as 3, found {text[:50]!r}", field="Last-Event-ID")
    return int(text)
