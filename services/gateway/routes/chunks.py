"""The text of a document, as searches find it."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from services.gateway.chunk_schemas import Chunk, Chunks
from services.gateway.gateway import GatewayOf
from services.gateway.openapi import PROBLEMS
from services.gateway.principal import Scope, needs
from services.gateway.replies import message_reply
from services.gateway.routes.documents import DocumentIdOf
from services.gateway.tenancy import Tenant

# Below the broker's limit of a message, whatever the text is.
MAX_TEXT_BYTES = 262_144

router = APIRouter(tags=["documents"], responses=PROBLEMS)


@router.get(
    "/v1/documents/{document_id:path}/chunks",
    summary="Read a document's chunks",
    responses={200: {"model": Chunks}},
    dependencies=[needs(Scope.QUERY)],
)
async def read_chunks(
    document_id: DocumentIdOf,
    tenant: Tenant,
    gateway: GatewayOf,
    first: Annotated[int, Query(ge=0, le=2**31 - 1, description="Ordinal of the first chunk, from 0.")] = 0,
    max_bytes: Annotated[int, Query(ge=1, le=MAX_TEXT_BYTES, description="Most bytes of text.")] = MAX_TEXT_BYTES,
) -> Response:
    """Return chunks in their order, as many as fit, one in any case; none of a document that searches don't find."""
    await gateway.reads.document(tenant, document_id)
    found = await gateway.reads.passages(tenant, document_id, first=first, max_bytes=max_bytes)
    return message_reply(Chunks(items=[Chunk(**dict(chunk)) for chunk in found.passages], next=found.next_ordinal))
