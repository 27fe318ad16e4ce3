"""Documents that are fetched: with a real broker and a real TLS server, each revision once."""

import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable

import nats
import pytest
from nats.js.object_store import ObjectStore

from contracts import subjects
from contracts.documents import IngestMessage
from services.parser.httpx_fetching import Fetcher
from services.parser.nats_fetched import FetchedDocuments, object_of
from services.parser.payloads import Payloads
from shared.errors import Rejected
from tests.integration.gateway_stand import running_stand
from tests.servers import NatsServer
from tests.tls_server import Reply, TlsServer, tls_server

LOOPBACK = ipaddress.ip_address("127.0.0.1")
Uploads = Callable[[], Awaitable[ObjectStore]]


@pytest.fixture
async def uploads(nats_broker: NatsServer) -> AsyncIterator[Uploads]:
    client = await nats.connect(nats_broker.url)
    bucket = await client.jetstream().object_store(subjects.UPLOADS_BUCKET)

    async def opened() -> ObjectStore:
        return bucket

    yield opened
    await client.close()


@pytest.fixture
async def server() -> AsyncIterator[TlsServer]:
    async with tls_server("docs.example") as running:
        running.replies["/a.md"] = Reply(headers={"Content-Type": "text/markdown"}, body=b"# First")
        yield running


def payloads(uploads: Uploads, server: TlsServer | None) -> Payloads:
    async def loopback(_host: str, _port: int) -> set[ipaddress.IPv4Address | ipaddress.IPv6Address]:
        return {LOOPBACK}

    fetcher = (
        None
        if server is None
        else Fetcher(
            max_bytes=1_000,
            timeout_seconds=10,
            max_redirects=2,
            reachable=lambda address: address == LOOPBACK,
            ports={server.port},
            resolve=loopback,
            trust=server.trust,
        )
    )
    fetched = FetchedDocuments(uploads, fetcher, timeout_seconds=10)
    return Payloads(uploads, fetched, max_bytes=1_000, timeout_seconds=10)


async def test_a_second_delivery_finds_what_the_first_one_fetched(uploads: Uploads, server: TlsServer) -> None:
    message = IngestMessage(uri=server.address("/a.md"))
    first = await payloads(uploads, server).fetch(message, 7)
    server.replies["/a.md"] = Reply(body=b"# Second")
    again = await payloads(uploads, server).fetch(message, 7)
    assert again == first
    assert (first.content, first.media_type, first.filename) == (b"# First", "text/markdown", "a.md")
    assert len(server.heads) == 1
    await payloads(uploads, server).remove(object_of(7))
    assert (await payloads(uploads, server).fetch(message, 8)).content == b"# Second"
    assert (await payloads(uploads, server).fetch(message, 7)).content == b"# Second"


async def test_what_the_producer_says_counts_more_than_what_the_server_says(
    uploads: Uploads, server: TlsServer
) -> None:
    message = IngestMessage(uri=server.address("/a.md"), media_type="text/plain", filename="b.txt")
    payload = await payloads(uploads, server).fetch(message, 1)
    assert (payload.media_type, payload.filename) == ("text/plain", "b.txt")


async def test_while_nothing_is_fetched_such_a_document_is_invalid(uploads: Uploads, server: TlsServer) -> None:
    with pytest.raises(Rejected, match=r"nothing is fetched from its uri here \(RAG_FETCH_URLS=off\)") as refused:
        await payloads(uploads, None).fetch(IngestMessage(uri=server.address("/a.md")), 1)
    assert (refused.value.error_code, refused.value.field) == ("fetch_off", "uri")
    assert server.heads == []


async def test_nobody_names_what_was_fetched_for_somebody_else(uploads: Uploads, server: TlsServer) -> None:
    await payloads(uploads, server).fetch(IngestMessage(uri=server.address("/a.md")), 7)
    with pytest.raises(Rejected, match="not for producers"):
        await payloads(uploads, server).fetch(IngestMessage(object=object_of(7)), 8)


@pytest.mark.parametrize(("setting", "status"), [("off", 422), ("on", 202)])
async def test_the_gateway_takes_an_address_for_a_document_only_where_that_is_on(
    nats_broker: NatsServer, setting: str, status: int
) -> None:
    async with running_stand(nats_broker, fetch_urls=setting) as stand:
        sent = await stand.http.post("/v1/documents", json={"documents": [{"uri": "https://docs.example/a"}]})
        assert sent.status_code == status, sent.text
        assert setting == "on" or "RAG_FETCH_URLS=off" in sent.json()["detail"]
        for label in ("http://docs.example/a", "urn:a"):
            refused = await stand.http.post("/v1/documents", json={"documents": [{"uri": label}]})
            assert refused.status_code == 422
            assert "found none of them" in refused.json()["detail"]
