"""Quotas on a real broker, with the real gateway, parser and persistence."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from nats.aio.client import Client

from contracts import subjects
from contracts.dead_letters import DeadLetterPage
from services.parser import app as parser
from services.parser.settings import ParserSettings
from shared.service import Service
from tests.integration.gateway_stand import running_gateway
from tests.integration.persistence_service import TENANT, Stand, fence, persistence
from tests.running import client_of, eventually, everything_twice, running_service
from tests.servers import NatsServer

LARGE_BYTES = 1_500_000
BURST = 18


@asynccontextmanager
async def gateway(broker: NatsServer, data: Path, **quota: Any) -> AsyncIterator[tuple[httpx.AsyncClient, Stand]]:
    """Run persistence and a gateway, whose callers are of the tenant `default`."""
    async with persistence(broker, data) as stand, running_gateway(broker, **quota) as (_, http, _), fence(stand, {}):
        yield http, stand


async def send(http: httpx.AsyncClient, *ids: str, text: str = "12345", **headers: str) -> httpx.Response:
    documents = [{"id": name, "text": text} for name in ids]
    return await http.post("/v1/documents", json={"documents": documents}, headers=headers)


async def used(http: httpx.AsyncClient) -> tuple[int, int]:
    reply = (await http.get("/v1/usage")).json()
    return reply["documents"], reply["bytes"]


async def test_the_gateway_takes_documents_up_to_the_quota_and_a_delete_makes_room_at_once(
    nats_broker: NatsServer, tmp_path: Path
) -> None:
    quotas = {"default": {"documents": 3}}
    async with gateway(nats_broker, tmp_path, quota_documents=1, quotas=quotas) as (http, stand):
        assert (await send(http, "a", "b", **{"Idempotency-Key": "k"})).status_code == 202
        assert (await send(http, "c")).status_code == 202
        refused = await send(http, "d")
        assert refused.status_code == 403, refused.text
        problem = refused.json()
        assert (problem["code"], problem["limit"], problem["allowed"], problem["used"]) == (
            "quota_exceeded",
            "documents",
            3,
            3,
        )
        assert "Delete documents" in problem["detail"]
        assert (await send(http, "a", text="1234567")).status_code == 202, "an update is no further document"
        assert (await http.delete("/v1/documents/b")).status_code == 202
        assert (await send(http, "d")).status_code == 202, "the delete has made room"
        await stand.worked_off()
        again = await send(http, "a", "b", **{"Idempotency-Key": "k"})
        # What is replayed is nothing new, though one of its documents is gone and has no room any more.
        assert [item["duplicate"] for item in again.json()["documents"]] == [True, True]
        reply = (await http.get("/v1/usage")).json()
        assert reply == {"documents": 3, "bytes": 17, "limits": {"documents": 3, "bytes": None}}


async def test_a_burst_at_the_gateway_gets_in_up_to_the_quota(nats_broker: NatsServer, tmp_path: Path) -> None:
    """INVARIANT: one gateway never lets in too much, however many callers it has at the same time."""
    async with gateway(nats_broker, tmp_path, quota_documents=10, quota_settle_seconds=10) as (http, stand):
        replies = await asyncio.gather(*(send(http, f"d{number}") for number in range(BURST)))
        assert sorted(reply.status_code for reply in replies) == [202] * 10 + [403] * (BURST - 10)
        await stand.worked_off()
        assert await used(http) == (10, 50)


async def test_a_large_upload_counts_before_it_is_parsed(nats_broker: NatsServer, tmp_path: Path) -> None:
    async with gateway(nats_broker, tmp_path, quota_bytes=2 * LARGE_BYTES, quota_fresh_seconds=0) as (http, stand):
        for name, status in (("a", 202), ("b", 202), ("c", 403)):
            content = name.encode() * LARGE_BYTES
            reply = await http.post("/v1/documents", files={"files": (f"{name}.txt", content, "text/plain")})
            assert reply.status_code == status, reply.text
            await stand.worked_off()
        assert await used(http) == (2, 2 * LARGE_BYTES)
        bucket = await stand.client.jetstream().object_store(subjects.UPLOADS_BUCKET)
        assert len(await bucket.list()) == 2, "what is refused is not put aside"


async def test_the_gateway_takes_documents_while_nobody_can_tell_what_is_used(nats_broker: NatsServer) -> None:
    """INVARIANT: persistence away is no reason to turn documents away; the parser decides later."""
    async with running_gateway(nats_broker, quota_documents=1) as (_, http, _):
        assert [(await send(http, name)).status_code for name in ("a", "b")] == [202, 202]


@asynccontextmanager
async def parsing(broker: NatsServer, prepare: Any = None, **quota: Any) -> AsyncIterator[Service]:
    settings = ParserSettings.model_validate({"nats_url": broker.url, "drain_seconds": 5, "parser_workers": 2, **quota})
    async with running_service("parser", settings, parser.build_lifespan(settings), prepare=prepare) as service:
        yield service


async def produce(client: Client, document_id: str, tenant: str = TENANT, **fields: Any) -> int:
    """Publish a document as a producer that passes the gateway by."""
    message = {"id": document_id, "text": "Water boils at 100 degrees.", **fields}
    return (await client.jetstream().publish(subjects.ingest(tenant), json.dumps(message).encode())).seq


async def settled(stand: Stand, *ids: str, tenant: str = TENANT, since: int = 0) -> dict[str, tuple[str, str | None]]:
    """Return status and error of documents, once the parser is done with them."""

    async def through() -> dict[str, tuple[str, str | None]]:
        views = [await stand.ask(subjects.READ_DOCUMENT, tenant=tenant, document_id=name) for name in ids]
        found = {
            view["id"]: (view["status"], (view.get("error") or {}).get("code"))
            for view in views
            if view.get("revision", -1) >= since
        }
        done = all(status not in ("accepted", "deleted") for status, _ in found.values())
        return found if len(found) == len(ids) and done else {}

    found: dict[str, tuple[str, str | None]] = await eventually(through, f"{ids} are through the parser")
    await stand.worked_off()
    return found


@pytest.mark.parametrize("twice", [False, True])
async def test_what_passes_the_gateway_by_ends_as_failed_where_there_is_no_room(
    nats_broker: NatsServer, tmp_path: Path, twice: bool
) -> None:
    """INVARIANT: the parser keeps the quota to the document, whatever waits behind it and whatever comes twice."""
    ids = [f"d{number}" for number in range(8)]
    limits = {"quota_documents": 3, "quotas": {"other": {"documents": 0}}}
    async with persistence(nats_broker, tmp_path) as stand, fence(stand, {}):
        for name in ids:
            await produce(stand.client, name)
            await produce(stand.client, name, "other")
        async with parsing(nats_broker, everything_twice if twice else None, **limits):
            found = await settled(stand, *ids)
            outcomes = sorted(found.values(), key=str)
            assert outcomes == [("failed", "quota_exceeded")] * 5 + [("processing", None)] * 3
            assert set((await settled(stand, *ids, tenant="other")).values()) == {("processing", None)}
            letters = DeadLetterPage.model_validate(await stand.ask(subjects.READ_DEAD_LETTERS))
            assert {letter.document_id for letter in letters.items} == {
                name for name, (status, _) in found.items() if status == "failed"
            }
            kept = next(name for name, (status, _) in found.items() if status == "processing")
            lost = next(name for name, (status, _) in found.items() if status == "failed")
            # Behind a delete, without waiting for it: what the queue says first counts first.
            await produce(stand.client, kept, op="delete", text=None)
            revision = await produce(stand.client, lost)
            assert await settled(stand, lost, since=revision) == {lost: ("processing", None)}
            usage = await stand.ask(subjects.READ_USAGE)
            assert usage["used"] == usage["admitted"] == {"documents": 3, "size_bytes": 3 * 27}


async def test_a_document_waits_at_the_parser_while_nobody_can_tell_what_is_used(
    nats_broker: NatsServer, tmp_path: Path
) -> None:
    """INVARIANT: nothing is lost, and nothing gets in unchecked, because persistence is away."""
    async with parsing(nats_broker, quota_documents=1), client_of(nats_broker.url) as client:
        await produce(client, "a")
        await produce(client, "b")

        async def tried() -> bool:
            info = await client.jetstream().consumer_info("INGEST", "parser")
            return bool(info.num_ack_pending)

        await eventually(tried, "the parser has the messages in work")
        assert (await client.jetstream().stream_info("CHUNKS")).state.messages == 0
        async with persistence(nats_broker, tmp_path) as stand:
            found = await settled(stand, "a", "b")
            assert sorted(found.values(), key=str) == [("failed", "quota_exceeded"), ("processing", None)]
