"""Documents: sent, looked at, followed, deleted."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from contracts.documents import FETCH_URLS, CollectionName, DocumentId
from contracts.reads import (
    MAX_NAMED_DOCUMENTS,
    DocumentListQuery,
    DocumentOrder,
    DocumentStatus,
    DocumentView,
    TitlePart,
)
from services.gateway.bodies import JSON, MULTIPART, media_type_of, read_json, run_sized, unsupported
from services.gateway.gateway import Gateway, GatewayOf
from services.gateway.idempotency import IdempotencyKey, read_key
from services.gateway.openapi import EVENT_STREAM, PROBLEMS, body_of
from services.gateway.principal import Scope, needs
from services.gateway.problems import invalid_request
from services.gateway.receipts import Receipt
from services.gateway.replies import json_reply, message_reply
from services.gateway.schemas import DEFAULT_PAGE, MAX_PAGE, DeleteReceipt, Documents, DocumentsBody, DocumentsReceipt
from services.gateway.sending import check_wait, send, submissions
from services.gateway.tenancy import Tenant
from services.gateway.uploads import reading_upload
from shared.logs import bind_document

router = APIRouter(tags=["documents"], responses=PROBLEMS)

_DOCUMENT_ID: Final[TypeAdapter[str]] = TypeAdapter(DocumentId)
_EVENT_STREAM: Final = {
    "description": "`event` is the status, `data` a DocumentState.",
    "content": EVENT_STREAM,
}


async def _document_id(document_id: str) -> str:
    try:
        found = _DOCUMENT_ID.validate_python(document_id)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise invalid_request(f"document id: {reason}", field="document_id") from None
    bind_document(found)
    return found


DocumentIdOf = Annotated[str, Depends(_document_id)]


@router.post(
    "/v1/documents",
    status_code=202,
    summary="Send documents to be indexed",
    openapi_extra=body_of(DocumentsBody, upload=True),
    responses={202: {"model": DocumentsReceipt}},
    dependencies=[needs(Scope.INGEST)],
)
async def send_documents(
    request: Request,
    tenant: Tenant,
    gateway: GatewayOf,
    wait_s: Annotated[float, Query(ge=0, allow_inf_nan=False, description="Seconds to wait for the outcome.")] = 0,
) -> Response:
    """Accept documents durably; with `wait_s` hold the answer until all are indexed or failed, or the time is up."""
    check_wait(gateway, wait_s)
    key = read_key(tenant, request.headers)
    form = media_type_of(request)
    if form == MULTIPART:
        receipts = await _send_upload(request, tenant, gateway, key, wait_s)
    elif form == JSON:
        receipts = await _send_json(request, tenant, gateway, key, wait_s)
    else:
        raise unsupported(request, JSON, MULTIPART)
    return json_reply({"documents": [receipt.as_json() for receipt in receipts]}, 202)


@router.get(
    "/v1/documents", summary="List documents", responses={200: {"model": Documents}}, dependencies=[needs(Scope.QUERY)]
)
async def list_documents(
    tenant: Tenant,
    gateway: GatewayOf,
    collection: CollectionName | None = None,
    status: DocumentStatus | None = None,
    title: Annotated[TitlePart | None, Query(description="Part of the title, or of the id of one without.")] = None,
    named: Annotated[list[DocumentId] | None, Query(alias="id", max_length=MAX_NAMED_DOCUMENTS)] = None,
    order: DocumentOrder = "id",
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = DEFAULT_PAGE,
    cursor: Annotated[str | None, Query(max_length=2048)] = None,
) -> Response:
    """Return a page of documents, ordered by id, or the newest first."""
    query = DocumentListQuery(
        tenant=tenant,
        collection=collection,
        status=status,
        title=title,
        ids=named,
        order=order,
        limit=limit,
        cursor=cursor,
    )
    return message_reply(await gateway.reads.documents(query))


# Before the document itself: an id may hold slashes, so the shorter path would take this one as well.
@router.get(
    "/v1/documents/{document_id:path}/events",
    summary="Follow a document",
    responses={200: _EVENT_STREAM},
    dependencies=[needs(Scope.INGEST, Scope.QUERY)],
)
async def follow_document(document_id: DocumentIdOf, tenant: Tenant, gateway: GatewayOf) -> Response:
    """Stream one event per state change, the present state first, until indexed, failed or deleted."""
    await gateway.reads.document(tenant, document_id)
    events = gateway.progress.events(tenant, document_id, gateway.reads.quiet_look(tenant))
    # The first event is made before the answer starts, so that a refusal can still be a problem.
    first = await anext(events)

    async def stream() -> AsyncIterator[bytes]:
        async with aclosing(events):
            yield first
            async for event in events:
                yield event

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream(), media_type="text/event-stream", headers=headers)


@router.get(
    "/v1/documents/{document_id:path}",
    summary="Look at a document",
    responses={200: {"model": DocumentView}},
    dependencies=[needs(Scope.INGEST, Scope.QUERY)],
)
async def read_document(document_id: DocumentIdOf, tenant: Tenant, gateway: GatewayOf) -> Response:
    """Return a document's state."""
    return message_reply(await gateway.reads.document(tenant, document_id))


@router.delete(
    "/v1/documents/{document_id:path}",
    status_code=202,
    summary="Delete a document",
    responses={202: {"model": DeleteReceipt}},
    dependencies=[needs(Scope.INGEST)],
)
async def delete_document(document_id: DocumentIdOf, tenant: Tenant, gateway: GatewayOf) -> Response:
    """Delete a document; from the answer on no search and no answer shows it."""
    deleted = await gateway.deletion.delete(tenant, document_id)
    receipt = DeleteReceipt(id=document_id, collection=deleted.collection, revision=deleted.revision)
    return message_reply(receipt, 202)


async def _send_json(
    request: Request, tenant: str, gateway: Gateway, key: IdempotencyKey | None, wait_s: float
) -> list[Receipt]:
    body = await read_json(request, DocumentsBody, {FETCH_URLS: gateway.settings.fetch_urls == "on"})
    size_bytes = len(await request.body())
    sent = await run_sized(size_bytes, submissions(gateway, key).of_documents, body.documents)
    return await send(gateway, tenant, sent, key, wait_s)


async def _send_upload(
    request: Request, tenant: str, gateway: Gateway, key: IdempotencyKey | None, wait_s: float
) -> list[Receipt]:
    settings = gateway.settings
    async with reading_upload(
        request,
        memory_bytes=settings.gateway_upload_memory_bytes,
        max_file_bytes=settings.gateway_max_document_bytes,
    ) as upload:
        sent = await run_sized(upload.size_bytes, submissions(gateway, key).of_upload, upload)
        return await send(gateway, tenant, sent, key, wait_s)
