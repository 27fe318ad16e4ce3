"""What a tenant uses of its quota."""

from fastapi import APIRouter
from starlette.responses import Response

from services.gateway.gateway import GatewayOf
from services.gateway.openapi import PROBLEMS
from services.gateway.principal import Scope, needs
from services.gateway.replies import message_reply
from services.gateway.schemas import TenantUsage
from services.gateway.tenancy import Tenant

router = APIRouter(tags=["documents"], responses=PROBLEMS)


@router.get(
    "/v1/usage",
    summary="Look at what is used of the quota",
    responses={200: {"model": TenantUsage}},
    dependencies=[needs(Scope.INGEST, Scope.QUERY)],
)
async def read_usage(tenant: Tenant, gateway: GatewayOf) -> Response:
    """Return the documents and bytes that count, and the limits; a limit that is null is none."""
    return message_reply(await gateway.quota_desk.usage(tenant))
