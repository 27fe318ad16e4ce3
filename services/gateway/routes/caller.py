"""Who calls, as the gateway sees them."""

from fastapi import APIRouter
from starlette.responses import Response

from services.gateway.caller_schemas import CallerView, Limits
from services.gateway.direct_route import DirectRoute
from services.gateway.gateway import GatewayOf
from services.gateway.openapi import PROBLEMS
from services.gateway.principal import Caller, Scope, needs
from services.gateway.replies import message_reply
from services.gateway.schemas import MAX_DOCUMENTS
from shared.version import VERSION

router = APIRouter(route_class=DirectRoute, tags=["operations"], responses=PROBLEMS)


@router.get(
    "/v1/me", summary="Look at yourself", responses={200: {"model": CallerView}}, dependencies=[needs(*sorted(Scope))]
)
async def read_caller(caller: Caller, gateway: GatewayOf) -> Response:
    """Return the caller's tenant and scopes, and what a program needs to know of this gateway."""
    settings = gateway.settings
    view = CallerView(
        tenant=caller.tenant,
        scopes=sorted(caller.scopes),
        key_id=caller.key_id,
        version=VERSION,
        trace_link=settings.gateway_trace_link,
        limits=Limits(
            document_bytes=settings.gateway_max_document_bytes,
            request_bytes=settings.gateway_max_request_bytes,
            documents=MAX_DOCUMENTS,
        ),
    )
    return message_reply(view)
