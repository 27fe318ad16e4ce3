"""Search; this is the path whose cost is measured, so a reply is built once and not validated again."""

import time
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.gateway.bodies import read_json
from services.gateway.direct_route import DirectRoute
from services.gateway.gateway import GatewayOf
from services.gateway.openapi import PROBLEMS, body_of
from services.gateway.principal import Scope, needs
from services.gateway.replies import json_reply
from services.gateway.schemas import SearchAnswer, SearchBody
from services.gateway.searching import hit_of
from services.gateway.searching import search as search_for
from services.gateway.tenancy import Tenant
from shared.telemetry import current_trace_id

router = APIRouter(route_class=DirectRoute, tags=["search"], responses=PROBLEMS, dependencies=[needs(Scope.QUERY)])


@router.post(
    "/v1/search",
    summary="Search the documents",
    openapi_extra=body_of(SearchBody),
    responses={200: {"model": SearchAnswer}},
)
async def search(request: Request, tenant: Tenant, gateway: GatewayOf) -> Response:
    """Return the chunks that fit the query best."""
    started = time.perf_counter()
    body = await read_json(request, SearchBody)
    asked = time.perf_counter()
    found = await search_for(gateway, tenant, body)
    asked_seconds = time.perf_counter() - asked
    hits = [hit_of(chunk) for chunk in found.hits]
    total_seconds = time.perf_counter() - started
    took_ms = {**found.took_ms, "gateway": _ms(total_seconds - asked_seconds), "total": _ms(total_seconds)}
    answer: dict[str, Any] = {"hits": hits, "took_ms": took_ms, "trace_id": current_trace_id()}
    if body.rerank:
        answer["reranked"] = bool(found.reranked)
    return json_reply(answer)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
