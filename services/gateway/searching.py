"""Searching for a caller; a hit is built once and not validated again, as the cost of this path is measured."""

from typing import Any

from contracts import subjects
from contracts.retrieval import RetrievedChunk, RetrieveReply, RetrieveRequest
from services.gateway.gateway import Gateway
from services.gateway.schemas import SearchBody


async def search(gateway: Gateway, tenant: str, body: SearchBody) -> RetrieveReply:
    """Return what the retriever finds; NotFound when there is no such collection, else what the retriever raises."""
    found = await gateway.requester.ask(subjects.RETRIEVE, _request(tenant, body), RetrieveReply)
    if not found.hits and body.collection is not None:
        await gateway.reads.require_collection(tenant, body.collection)
    return found


def hit_of(chunk: RetrievedChunk) -> dict[str, Any]:
    """Return a chunk as a caller sees it: the fields of `schemas.Hit`, `page` only where there is one."""
    hit: dict[str, Any] = {
        "document_id": chunk.document_id,
        "chunk_id": chunk.chunk_id,
        "collection": chunk.collection,
        "title": chunk.title,
        "uri": chunk.uri,
        "text": chunk.text,
        "score": chunk.score,
        "metadata": chunk.metadata,
        "heading_path": chunk.heading_path,
        "ordinal": chunk.ordinal,
    }
    if chunk.page is not None:
        hit["page"] = chunk.page
    return hit


def _request(tenant: str, body: SearchBody) -> RetrieveRequest:
    return RetrieveRequest(
        tenant=tenant,
        query=body.query,
        collection=body.collection,
        top_k=body.top_k,
        mode=body.mode,
        filter=body.filter,
        rerank=body.rerank,
    )
