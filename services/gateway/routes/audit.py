"""The audit: who did what."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime
from starlette.responses import Response

from contracts import subjects
from contracts.audit import MAX_AUDIT_LISTED, AuditAction, AuditPage, AuditQuery
from services.gateway.gateway import GatewayOf
from services.gateway.key_schemas import Audit
from services.gateway.openapi import PROBLEMS
from services.gateway.principal import Scope, needs
from services.gateway.replies import message_reply
from services.gateway.schemas import DEFAULT_PAGE
from services.gateway.tenancy import Tenant

router = APIRouter(prefix="/v1/admin/audit", tags=["operations"], responses=PROBLEMS, dependencies=[needs(Scope.ADMIN)])


@router.get("", summary="Read the audit", responses={200: {"model": Audit}})
async def read_audit(
    tenant: Tenant,
    gateway: GatewayOf,
    action: AuditAction | None = None,
    actor: Annotated[str | None, Query(max_length=100, description="Only what this key did, by its id.")] = None,
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
    limit: Annotated[int, Query(ge=1, le=MAX_AUDIT_LISTED)] = DEFAULT_PAGE,
    cursor: Annotated[str | None, Query(max_length=1024)] = None,
) -> Response:
    """Return a page of what happened in the tenant, newest first."""
    query = AuditQuery(tenant=tenant, action=action, actor=actor, since=since, until=until, limit=limit, cursor=cursor)
    return message_reply(await gateway.requester.ask(subjects.READ_AUDIT, query, AuditPage))
