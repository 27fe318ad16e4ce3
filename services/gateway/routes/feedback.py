"""Feedback on answers."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.gateway.bodies import read_json
from services.gateway.direct_route import DirectRoute
from services.gateway.gateway import GatewayOf
from services.gateway.openapi import PROBLEMS, body_of
from services.gateway.principal import Scope, needs
from services.gateway.replies import message_reply
from services.gateway.talk_schemas import FeedbackBody, FeedbackReceipt
from services.gateway.tenancy import Tenant

router = APIRouter(route_class=DirectRoute, tags=["questions"], responses=PROBLEMS, dependencies=[needs(Scope.QUERY)])


@router.post(
    "/v1/feedback",
    summary="Rate an answer",
    openapi_extra=body_of(FeedbackBody),
    responses={202: {"model": FeedbackReceipt}},
    status_code=202,
)
async def give_feedback(request: Request, tenant: Tenant, gateway: GatewayOf) -> Response:
    """Keep what somebody thinks of the answer to a query, with the query's trace; the last rating counts."""
    body = await read_json(request, FeedbackBody)
    await gateway.talk.rate(tenant, body)
    return message_reply(FeedbackReceipt(query_id=body.query_id, rating=body.rating), 202)
