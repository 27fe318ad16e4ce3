"""API keys: made, listed, revoked."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from services.gateway.bodies import read_json
from services.gateway.gateway import GatewayOf
from services.gateway.key_schemas import KeyBody, KeyRevokedReceipt, Keys, NewKeyShown
from services.gateway.openapi import PROBLEMS, body_of
from services.gateway.principal import Caller, Scope, needs
from services.gateway.replies import message_reply
from services.gateway.schemas import DEFAULT_PAGE, MAX_PAGE

router = APIRouter(prefix="/v1/admin/keys", tags=["operations"], responses=PROBLEMS, dependencies=[needs(Scope.ADMIN)])

Id = Annotated[str, Path(max_length=64, pattern="^[a-z0-9]+$", description="Its id, which is no secret.")]


@router.post(
    "", status_code=201, summary="Make a key", openapi_extra=body_of(KeyBody), responses={201: {"model": NewKeyShown}}
)
async def create_key(request: Request, caller: Caller, gateway: GatewayOf) -> Response:
    """Make a key and return it; it is shown this once."""
    body = await read_json(request, KeyBody)
    reply = message_reply(await gateway.keys.create(caller, body), 201)
    reply.headers["Cache-Control"] = "no-store"
    return reply


@router.get("", summary="List keys", responses={200: {"model": Keys}})
async def list_keys(
    caller: Caller,
    gateway: GatewayOf,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = DEFAULT_PAGE,
    cursor: Annotated[str | None, Query(max_length=1024)] = None,
) -> Response:
    """Return a page of keys, newest first, by how they begin; those of all tenants to whoever runs the platform."""
    return message_reply(await gateway.keys.page(caller, limit, cursor))


@router.delete("/{key_id}", summary="Revoke a key", responses={200: {"model": KeyRevokedReceipt}})
async def revoke_key(key_id: Id, caller: Caller, gateway: GatewayOf) -> Response:
    """Have a key refused by every gateway within a second; a second time changes nothing."""
    view = await gateway.keys.revoke(caller, key_id)
    return message_reply(KeyRevokedReceipt.model_validate({"id": view.id, "revoked_at": view.revoked_at}))
