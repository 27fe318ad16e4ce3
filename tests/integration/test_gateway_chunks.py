"""The text of a document and the caller's own view, on a real broker."""

from collections.abc import AsyncIterator

import pytest

from contracts.retrieval import RetrievedChunk
from services.gateway.schemas import MAX_DOCUMENTS
from services.gateway.settings import GatewaySettings
from shared.version import VERSION
from tests.integration.gateway_stand import TENANT, Stand, document, running_stand
from tests.servers import NatsServer

LINK = "https://jaeger.example/trace/{trace_id}"


@pytest.fixture
async def stand(nats_broker: NatsServer) -> AsyncIterator[Stand]:
    async with running_stand(nats_broker, gateway_trace_link=LINK) as running:
        yield running


def chunk(document_id: str, ordinal: int, text: str) -> RetrievedChunk:
    return RetrievedChunk(
        document_id=document_id,
        chunk_id=f"{document_id}-{ordinal}",
        collection="default",
        revision=1,
        ordinal=ordinal,
        title="Water",
        text=text,
        score=1.0,
        page=3,
        heading_path=("Water", "Heat"),
    )


@pytest.mark.parametrize("document_id", ["w", "a/b", "chunks"])
async def test_the_chunks_of_a_document_come_in_pieces(stand: Stand, document_id: str) -> None:
    await stand.http.post("/v1/documents", json={"documents": [document(id=document_id)]})
    texts = ("Water boils.", "Ice melts.")
    stand.retriever.texts[document_id] = [chunk(document_id, n, text) for n, text in enumerate(texts)]

    first = (await stand.http.get(f"/v1/documents/{document_id}/chunks")).json()
    last = (await stand.http.get(f"/v1/documents/{document_id}/chunks?first={first['next']}&max_bytes=1000")).json()

    wanted = {
        "chunk_id": f"{document_id}-0",
        "ordinal": 0,
        "revision": 1,
        "text": "Water boils.",
        "page": 3,
        "heading_path": ["Water", "Heat"],
    }
    assert first == {"items": [wanted], "next": 1}
    assert ([item["text"] for item in last["items"]], last["next"]) == (["Ice melts."], None)
    asked = [(reading.tenant, reading.first_ordinal, reading.max_bytes) for reading in stand.retriever.readings]
    assert asked == [(TENANT, 0, 262_144), (TENANT, 1, 1000)]


async def test_a_document_that_searches_do_not_find_yet_has_no_chunks(stand: Stand) -> None:
    await stand.http.post("/v1/documents", json={"documents": [document()]})
    reply = await stand.http.get("/v1/documents/a/chunks")
    assert (reply.status_code, reply.json()) == (200, {"items": [], "next": None})


async def test_chunks_of_no_document_are_not_found(stand: Stand) -> None:
    reply = await stand.http.get("/v1/documents/nothing/chunks")
    assert (reply.status_code, reply.json()["code"]) == (404, "document_not_found")


@pytest.mark.parametrize("query", ["first=-1", "first=x", "max_bytes=0", "max_bytes=262145", f"first={2**31}"])
async def test_a_place_that_can_t_be_is_refused(stand: Stand, query: str) -> None:
    reply = await stand.http.get(f"/v1/documents/a/chunks?{query}")
    assert (reply.status_code, reply.json()["code"]) == (422, "invalid_request")


async def test_a_caller_learns_who_it_is_and_what_a_request_may_bring(stand: Stand) -> None:
    settings = GatewaySettings()
    assert (await stand.http.get("/v1/me")).json() == {
        "tenant": "default",
        "scopes": ["admin", "ingest", "query"],
        "key_id": None,
        "version": VERSION,
        "trace_link": LINK,
        "limits": {
            "document_bytes": settings.gateway_max_document_bytes,
            "request_bytes": settings.gateway_max_request_bytes,
            "documents": MAX_DOCUMENTS,
        },
    }
