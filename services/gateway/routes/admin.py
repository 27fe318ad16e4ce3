"""The state of the platform: collections, pipeline, health."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from contracts import subjects
from contracts.documents import CollectionName
from contracts.reconciliation import ReconcileReply, ReconcileRequest
from contracts.retrieval import ReindexReply, ReindexRequest
from services.gateway.bodies import read_json
from services.gateway.gateway import GatewayOf
from services.gateway.health_schemas import HealthSummary, PlatformHealth
from services.gateway.openapi import PROBLEMS, body_of
from services.gateway.principal import Caller, Scope, needs
from services.gateway.replies import message_reply
from services.gateway.schemas import (
    CollectionDeleteReceipt,
    Collections,
    PipelineState,
)
from services.gateway.tenancy import Tenant

router = APIRouter(responses=PROBLEMS)


@router.get(
    "/v1/collections",
    tags=["documents"],
    summary="List collections",
    responses={200: {"model": Collections}},
    dependencies=[needs(Scope.QUERY)],
)
async def list_collections(tenant: Tenant, gateway: GatewayOf) -> Response:
    """Return every collection with the number of its documents and chunks."""
    found = await gateway.reads.collections(tenant)
    return message_reply(Collections(items=found.items, next_cursor=None))


@router.delete(
    "/v1/collections/{name}",
    status_code=202,
    tags=["documents"],
    summary="Delete a collection",
    responses={202: {"model": CollectionDeleteReceipt}},
    dependencies=[needs(Scope.INGEST)],
)
async def delete_collection(name: CollectionName, tenant: Tenant, gateway: GatewayOf) -> Response:
    """Delete every document of a collection; from the answer on no search and no answer shows any of them."""
    deleted = await gateway.deletion.delete_collection(tenant, name)
    return message_reply(CollectionDeleteReceipt(name=name, revision=deleted.revision), 202)


@router.get(
    "/v1/admin/pipeline",
    tags=["operations"],
    summary="Look at the stages of the pipeline",
    responses={200: {"model": PipelineState}},
    dependencies=[needs(Scope.ADMIN)],
)
async def read_pipeline(gateway: GatewayOf) -> Response:
    """Return for every stage what waits, what is in work and how fast it goes."""
    return message_reply(await gateway.pipeline.state())


@router.post(
    "/v1/admin/reindex",
    tags=["operations"],
    summary="Do one step towards the next embedding model",
    openapi_extra=body_of(ReindexRequest),
    responses={200: {"model": ReindexReply}},
    dependencies=[needs(Scope.ADMIN)],
)
async def reindex(request: Request, caller: Caller, gateway: GatewayOf) -> Response:
    """Return where the reindexing stands after the step; `rag reindex` does all of them."""
    caller.require_operator(gateway.settings.operator_tenant)
    step = await read_json(request, ReindexRequest)
    return message_reply(await gateway.patient_requester.ask(subjects.INDEX_REINDEX, step, ReindexReply))


@router.post(
    "/v1/admin/reconcile",
    tags=["operations"],
    summary="Do one step of comparing database and index",
    openapi_extra=body_of(ReconcileRequest),
    responses={200: {"model": ReconcileReply}},
    dependencies=[needs(Scope.ADMIN)],
)
async def reconcile(request: Request, caller: Caller, gateway: GatewayOf) -> Response:
    """Return what the step found and repaired; `rag doctor --reconcile` does all of them."""
    caller.require_operator(gateway.settings.operator_tenant)
    step = await read_json(request, ReconcileRequest)
    return message_reply(await gateway.patient_requester.ask(subjects.RECONCILE, step, ReconcileReply))


@router.get("/health", tags=["operations"], summary="Health in short", responses={200: {"model": HealthSummary}})
async def read_health(gateway: GatewayOf) -> Response:
    """Return the number of ready replicas of every service; a degraded platform still answers with 200."""
    health = await gateway.components.health()
    ready = {name: service.ready for name, service in health.services.items()}
    summary = HealthSummary(status=health.status, version=health.version, services=ready, problems=health.problems)
    return message_reply(summary)


@router.get(
    "/health/detailed",
    tags=["operations"],
    summary="Health of every part",
    responses={200: {"model": PlatformHealth}},
)
async def read_detailed_health(gateway: GatewayOf) -> Response:
    """Return what every process says of itself; a degraded platform still answers with 200."""
    return message_reply(await gateway.components.health())
