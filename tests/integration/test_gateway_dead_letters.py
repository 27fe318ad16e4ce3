"""Dead letters over HTTP: a real gateway before a real persistence service."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import httpx
import orjson
import pytest
import pytest_asyncio

from contracts import topology
from tests.integration.burying import bury
from tests.integration.gateway_stand import TENANT, running_gateway
from tests.integration.persistence_service import Stand, persistence
from tests.servers import provisioned_nats_server

LETTERS = "/v1/admin/dead-letters"
REVISIONS = 100

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Desk:
    """The gateway's client, the service behind it, and what the ids of this test's documents begin with."""

    http: httpx.AsyncClient
    stand: Stand
    revisions: Iterator[int] = field(default_factory=lambda: count(1))
    prefix: str = ""

    def document(self, name: str, **fields: Any) -> bytes:
        return orjson.dumps({"id": self.named(name), **fields})

    def named(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    async def bury(self, payload: bytes, **fields: Any) -> int:
        return await bury(self.stand, payload, next(self.revisions), **{"tenant": TENANT, **fields})

    async def listed(self, **params: Any) -> list[int]:
        reply = await self.http.get(LETTERS, params=params)
        assert reply.status_code == 200, reply.text
        return [item["seq"] for item in reply.json()["items"]]

    async def read(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self.http.get(f"/v1/documents/{self.named(name)}")).json()
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    # In a thread: it has an event loop of its own.
    servers = provisioned_nats_server()
    server = await asyncio.to_thread(servers.__enter__)
    async with (
        persistence(server, tmp_path_factory.mktemp("persistence")) as stand,
        running_gateway(server) as (_service, http, _gateway),
    ):
        # The letters speak of revisions up to here; what is sent again comes after them.
        for _ in range(REVISIONS):
            await stand.ingest(id="filler", text="t")
        yield Desk(http, stand)
    servers.__exit__(None, None, None)


@pytest_asyncio.fixture(loop_scope="module")
async def desk(shared_desk: Desk) -> AsyncIterator[Desk]:
    """The shared desk with no letter on it; documents of an earlier test have other ids."""
    for letter in await shared_desk.listed():
        await shared_desk.http.delete(f"{LETTERS}/{letter}")
    yield replace(shared_desk, prefix=uuid.uuid4().hex[:8])


async def test_letters_are_listed_by_page_and_filter(desk: Desk) -> None:
    one = await desk.bury(desk.document("a"))
    two = await desk.bury(desk.document("b"), code="too_large", consumer=topology.INTAKE)
    await desk.bury(desk.document("c"), tenant="other")
    page = (await desk.http.get(LETTERS, params={"limit": 1})).json()
    assert [item["seq"] for item in page["items"]] == [two]
    assert await desk.listed(limit=1, cursor=page["next_cursor"]) == [one]
    assert await desk.listed(code="too_large") == await desk.listed(consumer="persistence-intake") == [two]
    assert await desk.listed(document_id=desk.named("a")) == [one]
    assert await desk.listed(document_id=desk.named("c")) == [], "another tenant's"
    assert await desk.listed(until=page["items"][0]["created_at"]) == [one]
    assert (await desk.http.get(LETTERS)).json()["next_cursor"] is None


@pytest.mark.parametrize(
    ("method", "path", "field"),
    [
        ("GET", "?since=yesterday", "since"),
        ("GET", "?since=2026-11-01T10:00:00", "since"),
        ("GET", "?limit=0", "limit"),
        ("GET", "?code=%00", "code"),
        ("GET", "?cursor=!", "cursor"),
        ("GET", "/abc", "seq"),
        ("DELETE", "/0", "seq"),
        ("POST", "/99999999999999999999/replay", "seq"),
    ],
)
async def test_what_is_no_filter_and_no_number_is_named(desk: Desk, method: str, path: str, field: str) -> None:
    reply = await desk.http.request(method, LETTERS + path)
    assert (reply.status_code, reply.json()["field"]) == (422, field)


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", "/replay"), ("DELETE", "")])
async def test_a_letter_of_another_tenant_is_one_that_is_not_there(desk: Desk, method: str, path: str) -> None:
    """INVARIANT: a tenant sees only its own."""
    theirs = await desk.bury(desk.document("c"), tenant="other")
    reply = await desk.http.request(method, f"{LETTERS}/{theirs}{path}")
    nothing = await desk.http.request(method, f"{LETTERS}/{theirs + 7}{path}")
    assert (reply.status_code, reply.json()["code"]) == (404, "dead_letter_not_found")
    assert reply.json()["detail"].replace(str(theirs), "N") == nothing.json()["detail"].replace(str(theirs + 7), "N")


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        (b'{"id": "a", "text": 5}', {"encoding": "json", "value": {"id": "a", "text": 5}, "truncated": False}),
        (b"\x00\xff", {"encoding": "base64", "value": "AP8=", "truncated": False}),
        (b"", {"encoding": "base64", "value": "", "truncated": False}),
    ],
    ids=["json", "bytes", "nothing"],
)
async def test_a_letter_shows_its_message(desk: Desk, payload: bytes, shown: dict[str, Any]) -> None:
    letter = await desk.bury(payload, headers={"My-Header": "kept"})
    found = (await desk.http.get(f"{LETTERS}/{letter}")).json()
    assert found["payload"] == {**shown, "missing": False}
    assert found["headers"]["My-Header"] == "kept"
    assert (found["stream"], found["deliveries"]) == ("INGEST", 3)


async def test_a_deep_or_a_large_payload_is_shown_as_far_as_it_goes(desk: Desk) -> None:
    deep = await desk.bury(b"[" * 500 + b"]" * 500)
    assert (await desk.http.get(f"{LETTERS}/{deep}")).json()["payload"]["encoding"] == "base64"
    large = await desk.bury(b'"' + b"x" * 600_000 + b'"')
    found = (await desk.http.get(f"{LETTERS}/{large}")).json()
    assert found["size_bytes"] == 600_002
    assert (found["payload"]["encoding"], found["payload"]["truncated"]) == ("base64", True)


async def test_a_replayed_document_is_not_read_as_the_revision_that_failed(desk: Desk) -> None:
    letter = await desk.bury(desk.document("d", text="t"))
    assert (await desk.read("d"))["status"] == "failed"
    reply = await desk.http.post(f"{LETTERS}/{letter}/replay")
    assert reply.status_code == 200, reply.text
    receipt = reply.json()
    assert (receipt["seq"], receipt["stream"], receipt["document_id"]) == (letter, "INGEST", desk.named("d"))
    assert len(receipt["trace_id"]) == 32
    found = await desk.read("d")
    assert (found["status"], found["revision"]) == ("accepted", receipt["revision"])
    assert await desk.listed() == []


async def test_a_letter_that_cannot_be_sent_again_is_a_conflict_that_says_why(desk: Desk) -> None:
    letter = await desk.bury(desk.document("d", text="t"))
    await desk.bury(desk.document("d", text="newer"))
    reply = await desk.http.post(f"{LETTERS}/{letter}/replay")
    assert (reply.status_code, reply.json()["code"]) == (409, "newer_revision")
    assert letter in await desk.listed()


async def test_letters_are_replayed_by_filter_and_counted(desk: Desk) -> None:
    for number in range(4):
        await desk.bury(desk.document(f"d{number % 3}", text="t"), code="corrupt")
    other = await desk.bury(desk.document("e", text="t"), code="too_large")
    first = (await desk.http.post(f"{LETTERS}/replay", json={"code": "corrupt", "limit": 3})).json()
    assert (first["matched"], first["replayed"], first["refused"]) == (3, 2, {"newer_revision": 1})
    rest = {"code": "corrupt", "limit": 3, "cursor": first["next_cursor"]}
    last = (await desk.http.post(f"{LETTERS}/replay", json=rest)).json()
    assert last == {"matched": 1, "replayed": 1, "refused": {}, "stopped": None, "next_cursor": None}
    assert other in await desk.listed()


async def test_a_misspelt_filter_does_not_stand_for_every_letter(desk: Desk) -> None:
    letter = await desk.bury(desk.document("d", text="t"))
    reply = await desk.http.post(f"{LETTERS}/replay", json={"consumers": "parser"})
    assert (reply.status_code, reply.json()["field"]) == (422, "consumers")
    assert await desk.listed() == [letter]


async def test_a_full_queue_stops_the_replay_and_keeps_the_letters(desk: Desk) -> None:
    one, two = [await desk.bury(desk.document(f"d{n}", text="t")) for n in range(2)]
    jetstream = desk.stand.client.jetstream()
    config = (await jetstream.stream_info("INGEST")).config
    roomy, config.max_bytes = config.max_bytes, 1
    await jetstream.update_stream(config=config)
    reply = await desk.http.post(f"{LETTERS}/{one}/replay")
    assert (reply.status_code, reply.json()["code"]) == (503, "overloaded")
    assert "Retry-After" in reply.headers
    counts = (await desk.http.post(f"{LETTERS}/replay", json={})).json()
    assert (counts["matched"], counts["replayed"], counts["stopped"]["code"]) == (2, 0, "overloaded")
    assert await desk.listed() == [two, one]
    config.max_bytes = roomy
    await jetstream.update_stream(config=config)


async def test_a_discarded_letter_is_gone_and_its_document_stays_failed(desk: Desk) -> None:
    letter = await desk.bury(desk.document("d", text="t"))
    reply = await desk.http.delete(f"{LETTERS}/{letter}")
    assert (reply.status_code, reply.json()) == (200, {"seq": letter, "status": "discarded"})
    assert await desk.listed() == []
    assert (await desk.read("d"))["error"]["code"] == "corrupt"


async def test_the_pipeline_counts_the_letters_of_each_stage(desk: Desk) -> None:
    before = await letters_by_stage(desk)
    await desk.bury(desk.document("a"))
    await desk.bury(desk.document("b"), tenant="other")
    discarded = await desk.bury(desk.document("c"), consumer=topology.INTAKE)
    await desk.http.delete(f"{LETTERS}/{discarded}")
    after = await letters_by_stage(desk)
    assert after == {**before, "parser": before["parser"] + 2}


async def letters_by_stage(desk: Desk) -> dict[str, int]:
    stages = (await desk.http.get("/v1/admin/pipeline")).json()["stages"]
    return {stage["stage"]: stage["dead_letters"] for stage in stages}
