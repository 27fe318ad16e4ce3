"""Traces: what the services did for one request, without a tracing system beside them."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from contracts.traces import TraceListQuery, TracePage, TraceView
from services.gateway.gateway import GatewayOf
from services.gateway.openapi import PROBLEMS
from services.gateway.principal import Scope, needs
from services.gateway.replies import message_reply
from services.gateway.schemas import DEFAULT_PAGE, MAX_PAGE
from services.gateway.tenancy import Tenant

router = APIRouter(prefix="/v1/traces", tags=["operations"], responses=PROBLEMS, dependencies=[needs(Scope.QUERY)])

Id = Annotated[str, Path(pattern="^[0-9a-fA-F]{32}$", description="As `X-Trace-Id` names it.")]


@router.get("", summary="List traces", responses={200: {"model": TracePage}})
async def list_traces(
    tenant: Tenant,
    gateway: GatewayOf,
    service: Annotated[str | None, Query(max_length=100, description="Only those it took part in.")] = None,
    min_ms: Annotated[
        float | None, Query(ge=0, allow_inf_nan=False, description="Only those that took so long.")
    ] = None,
    error: Annotated[bool | None, Query(description="Only those in which something failed, or nothing did.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = DEFAULT_PAGE,
    cursor: Annotated[str | None, Query(max_length=1024)] = None,
) -> Response:
    """Return a page of the tenant's traces, newest first."""
    query = TraceListQuery(tenant=tenant, service=service, min_ms=min_ms, error=error, limit=limit, cursor=cursor)
    return message_reply(await gateway.traces.page(query))


@router.get("/{trace_id}", summary="Look at a trace", responses={200: {"model": TraceView}})
async def read_trace(trace_id: Id, tenant: Tenant, gateway: GatewayOf) -> Response:
    """Return the spans of a trace by their start; `complete` is false while more of them may come."""
    return message_reply(await gateway.traces.trace(tenant, trace_id.lower()))
