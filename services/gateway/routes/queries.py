"""Questions and their answers."""

import uuid

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from contracts.queries import AskQuestion
from services.gateway.answer_events import Telling, query_answer
from services.gateway.bodies import read_json
from services.gateway.conversation_ids import conversation_of
from services.gateway.direct_route import DirectRoute
from services.gateway.gateway import GatewayOf
from services.gateway.openapi import PROBLEMS, body_of
from services.gateway.presence import while_connected
from services.gateway.principal import Scope, needs
from services.gateway.replies import message_reply
from services.gateway.routes.answer_events import ANSWER_STREAM, stream_answer
from services.gateway.schemas import QueryAnswer, QueryBody
from services.gateway.tenancy import Tenant
from shared.telemetry import current_trace_id

router = APIRouter(route_class=DirectRoute, tags=["questions"], responses=PROBLEMS, dependencies=[needs(Scope.QUERY)])


@router.post(
    "/v1/query",
    summary="Ask a question",
    openapi_extra=body_of(QueryBody),
    responses={200: {"model": QueryAnswer, "content": ANSWER_STREAM["content"]}},
)
async def query(request: Request, tenant: Tenant, gateway: GatewayOf) -> Response:
    """Return an answer that cites its sources, or one that says that the documents hold none.

    With `stream` its events come as server-sent events, as `GET /v1/queries/{id}/events` describes them.
    """
    body = await read_json(request, QueryBody)
    question = AskQuestion(
        tenant=tenant,
        query_id=uuid.uuid4().hex,
        question=body.question,
        collection=body.collection,
        mode=body.mode,
        conversation_id=conversation_of(body.conversation_id),
        top_k=body.top_k,
        filter=body.filter,
    )
    if body.stream:
        return await stream_answer(gateway, question)
    answer = await while_connected(request, gateway.questions.ask(question))
    if not answer.answered and body.collection is not None:
        await gateway.reads.require_collection(tenant, body.collection)
    telling = Telling(question.query_id, current_trace_id(), question.conversation_id)
    return message_reply(query_answer(answer, telling))
