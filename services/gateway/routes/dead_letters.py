"""Dead letters: listed, looked at, sent again, discarded."""

import base64
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime
from starlette.requests import Request
from starlette.responses import Response

from contracts.dead_letters import NAME_PATTERN, DeadLetterContent, DeadLetterListQuery
from contracts.documents import DocumentId
from contracts.messages import MAX_SEQUENCE
from services.gateway.bodies import read_json
from services.gateway.gateway import GatewayOf
from services.gateway.openapi import PROBLEMS, body_of
from services.gateway.principal import Scope, needs
from services.gateway.replies import json_reply, message_reply
from services.gateway.schemas import (
    DEFAULT_PAGE,
    MAX_PAGE,
    DeadLetter,
    DeadLetters,
    DiscardReceipt,
    ReplayBody,
    ReplayCounts,
    ReplayReceipt,
)
from services.gateway.tenancy import Tenant

router = APIRouter(
    prefix="/v1/admin/dead-letters", tags=["operations"], responses=PROBLEMS, dependencies=[needs(Scope.ADMIN)]
)

Seq = Annotated[int, Path(ge=1, le=MAX_SEQUENCE, description="Its place in the DEAD stream.")]
Name = Annotated[str | None, Query(pattern=NAME_PATTERN)]
_UNSHOWN: Final = {"payload", "payload_missing"}


@router.get("", summary="List dead letters", responses={200: {"model": DeadLetters}})
async def list_dead_letters(
    tenant: Tenant,
    gateway: GatewayOf,
    consumer: Name = None,
    code: Name = None,
    document_id: DocumentId | None = None,
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = DEFAULT_PAGE,
    cursor: Annotated[str | None, Query(max_length=1024)] = None,
) -> Response:
    """Return a page of the tenant's letters, newest first; `since` and `until` are about when they died."""
    query = DeadLetterListQuery(
        tenant=tenant,
        consumer=consumer,
        code=code,
        document_id=document_id,
        since=since,
        until=until,
        limit=limit,
        cursor=cursor,
    )
    return message_reply(await gateway.dead_letters.page(query))


@router.post(
    "/replay",
    summary="Send matching dead letters again",
    openapi_extra=body_of(ReplayBody),
    responses={200: {"model": ReplayCounts}},
)
async def replay_dead_letters(request: Request, tenant: Tenant, gateway: GatewayOf) -> Response:
    """Send at most `limit` letters again, oldest first, and return what became of them."""
    body = await read_json(request, ReplayBody)
    return message_reply(await gateway.dead_letters.replay_matching(tenant, body))


@router.get("/{seq}", summary="Look at a dead letter", responses={200: {"model": DeadLetter}})
async def read_dead_letter(seq: Seq, tenant: Tenant, gateway: GatewayOf) -> Response:
    """Return a letter with the headers and the payload of its message."""
    return json_reply(_shown(await gateway.dead_letters.letter(tenant, seq)))


@router.post("/{seq}/replay", summary="Send a dead letter again", responses={200: {"model": ReplayReceipt}})
async def replay_dead_letter(seq: Seq, tenant: Tenant, gateway: GatewayOf) -> Response:
    """Send a letter's message again, in a new trace, and take the letter off the list."""
    outcome = await gateway.dead_letters.replay(tenant, seq)
    return message_reply(ReplayReceipt.model_validate(outcome.model_dump()))


@router.delete("/{seq}", summary="Discard a dead letter", responses={200: {"model": DiscardReceipt}})
async def discard_dead_letter(seq: Seq, tenant: Tenant, gateway: GatewayOf) -> Response:
    """Remove a letter for good; its document stays failed."""
    await gateway.dead_letters.discard(tenant, seq)
    return message_reply(DiscardReceipt(seq=seq))


def _shown(letter: DeadLetterContent) -> dict[str, Any]:
    truncated = letter.size_bytes is not None and len(letter.payload) < letter.size_bytes
    payload = {**_readable(letter.payload, whole=not truncated), "truncated": truncated}
    return {
        **letter.model_dump(mode="json", exclude=_UNSHOWN),
        "payload": {**payload, "missing": letter.payload_missing},
    }


def _readable(payload: bytes, *, whole: bool) -> dict[str, Any]:
    """Return JSON as it is; what is none, or nested deeper than we could send it, as base64."""
    raw = {"encoding": "base64", "value": base64.b64encode(payload).decode()}
    if not whole:
        return raw
    try:
        value = orjson.loads(payload)
        orjson.dumps(value)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return raw
    return {"encoding": "json", "value": value}
