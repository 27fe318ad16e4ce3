"""Two real gateways and a real persistence on a real broker: who gets in, on which replica, and for how long."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from contracts import subjects
from contracts.codec import encode
from contracts.keys import KeyChangesQuery
from services.gateway.gateway import Gateway
from services.persistence import key_tool
from services.persistence.settings import PersistenceSettings
from shared.api_keys import new_key
from shared.messaging.broker import settle
from tests.integration import persistence_service
from tests.integration.gateway_stand import running_gateway
from tests.running import eventually
from tests.servers import NatsServer, provisioned_nats_server
from tests.tcp_proxy import tcp_proxy

pytestmark = pytest.mark.asyncio(loop_scope="module")

PEPPER = "p" * 32
EVERYTHING = ["ingest", "query", "admin"]


@dataclass
class Stand:
    """Two gateways in front of one database."""

    data: Path
    first: httpx.AsyncClient
    second: httpx.AsyncClient
    gateways: list[Gateway]
    persistence: persistence_service.Stand
    stopping: AsyncExitStack

    def make(self, tenant: str = "acme", scopes: list[str] | None = None, **fields: Any) -> str:
        """Make a key on the machine itself, as `rag keys create --data` does."""
        key = new_key(PEPPER)
        request = {"id": key.id, "prefix": key.prefix, "digest": key.digest, "tenant": tenant, **fields}
        settings = PersistenceSettings(data_dir=self.data)
        key_tool.answer({"do": "create", "scopes": scopes or EVERYTHING, **request}, settings)
        return key.text

    async def audit(self, key: str, **params: str) -> list[dict[str, Any]]:
        reply = await self.first.get("/v1/admin/audit", headers=bearer(key), params=params)
        items: list[dict[str, Any]] = reply.json()["items"]
        return items


@asynccontextmanager
async def running_stand(broker: NatsServer, data: Path, **more: object) -> AsyncIterator[Stand]:
    options = {"auth": "keys", "key_pepper": PEPPER, "gateway_keys_refresh_seconds": 600.0, **more}
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(AsyncExitStack())
        persistence = await running.enter_async_context(persistence_service.persistence(broker, data))
        _, first, one = await stack.enter_async_context(running_gateway(broker, **options))
        _, second, two = await stack.enter_async_context(
            running_gateway(broker, **{**options, "instance": "gateway-2"})
        )
        yield Stand(data, first, second, [one, two], persistence, running)


@pytest.fixture(scope="module")
def shared_broker() -> Iterator[NatsServer]:
    with provisioned_nats_server() as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stand(shared_broker: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with running_stand(shared_broker, tmp_path_factory.mktemp("data")) as running:
        yield running


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def status(http: httpx.AsyncClient, key: str, path: str = "/v1/documents") -> int:
    return (await http.get(path, headers=bearer(key))).status_code


async def test_a_key_opens_every_gateway_at_once_however_it_was_made(stand: Stand) -> None:
    key = stand.make()
    assert [await status(http, key) for http in (stand.first, stand.second)] == [200, 200]
    made = await stand.first.post("/v1/admin/keys", headers=bearer(key), json={"scopes": ["query"], "expires": "1h"})
    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    assert [await status(http, made.json()["key"]) for http in (stand.second, stand.first)] == [200, 200]
    assert made.json()["tenant"] == "acme"


@pytest.mark.parametrize("way", ["http", "machine"])
async def test_a_revoked_key_is_refused_within_a_second_by_every_gateway(stand: Stand, way: str) -> None:
    """INVARIANT: a key that was taken back opens nothing anywhere a second later; else a stolen key goes on working."""
    admin, key = stand.make(), stand.make()
    key_id = key.split("_")[1]
    assert [await status(http, key) for http in (stand.first, stand.second)] == [200, 200]
    if way == "http":
        gone = await stand.first.delete(f"/v1/admin/keys/{key_id}", headers=bearer(admin))
        assert gone.status_code == 200
    else:
        settings = PersistenceSettings(data_dir=stand.data)
        await asyncio.to_thread(key_tool.answer, {"do": "revoke", "id": key_id}, settings)
    began = time.monotonic()
    for http in (stand.first, stand.second):
        await eventually(lambda http=http: _refused(http, key), "the key is refused")  # type: ignore[misc]
    assert time.monotonic() - began < 1.0
    reply = await stand.second.get("/v1/documents", headers=bearer(key))
    assert "revoked" in reply.json()["detail"]


async def _refused(http: httpx.AsyncClient, key: str) -> bool:
    return await status(http, key) == 401


async def test_requests_ask_nobody_about_a_key_that_is_known(stand: Stand) -> None:
    key = stand.make(scopes=["ingest"])
    assert await status(stand.first, key, "/v1/traces") == 403
    heard: list[bytes] = []

    async def listen(message: Any) -> None:
        heard.append(message.data)

    hearing = [await stand.persistence.client.subscribe(f"rag.v1.{part}.>", cb=listen) for part in ("keys", "read")]
    await settle(stand.persistence.client)
    for _ in range(20):
        assert await status(stand.first, key, "/v1/traces") == 403
    await stand.persistence.client.request(subjects.KEYS_CHANGES, encode(KeyChangesQuery()), timeout=5)
    # A gateway that was told of the new key asks once more; twenty requests would be twenty questions.
    assert 1 <= len(heard) < 10
    for subscription in hearing:
        await subscription.unsubscribe()


async def test_made_up_keys_do_not_make_a_gateway_flood_the_database(stand: Stand) -> None:
    asked: list[bytes] = []

    async def listen(message: Any) -> None:
        asked.append(message.data)

    subscription = await stand.persistence.client.subscribe(subjects.KEYS_CHANGES, cb=listen)
    await settle(stand.persistence.client)
    found = await asyncio.gather(*(status(stand.first, new_key(PEPPER).text) for _ in range(200)))
    assert set(found) == {401}
    await settle(stand.persistence.client)
    await subscription.unsubscribe()
    assert 1 <= len(asked) <= 3


async def test_known_keys_open_for_a_while_without_persistence_and_unknown_ones_are_not_called_wrong(
    nats_broker: NatsServer, tmp_path: Path
) -> None:
    async with running_stand(nats_broker, tmp_path, gateway_keys_stale_seconds=4.0) as stand:
        key = stand.make(scopes=["ingest"])
        assert await status(stand.first, key, "/v1/traces") == 403
        await stand.stopping.aclose()
        assert await status(stand.first, key, "/v1/traces") == 403
        reply = await stand.first.get("/v1/traces", headers=bearer(stand.make()))
        assert (reply.status_code, reply.json()["code"]) == (503, "keys_unavailable")
        assert int(reply.headers["retry-after"]) >= 1

        async def closed() -> bool:
            return await status(stand.first, key, "/v1/traces") == 503

        await eventually(closed, "nothing is guessed about a key that may have been revoked")


async def test_what_was_revoked_while_a_gateway_was_cut_off_is_refused_when_it_is_back(
    nats_broker: NatsServer, tmp_path: Path
) -> None:
    """What is told while nobody listens is told to nobody: a gateway that lost its connection asks."""
    options = {"auth": "keys", "key_pepper": PEPPER, "gateway_keys_refresh_seconds": 600.0}
    async with tcp_proxy(nats_broker.port) as proxy, persistence_service.persistence(nats_broker, tmp_path) as behind:
        line = f"nats://127.0.0.1:{proxy.port}"
        async with running_gateway(nats_broker, nats_url=line, **options) as (_, http, gateway):
            stand = Stand(tmp_path, http, http, [gateway], behind, AsyncExitStack())
            told = await behind.client.subscribe(subjects.KEYS_CHANGED)
            await settle(behind.client)
            key = stand.make(scopes=["ingest"])
            # Its first word names no key, any other one this key: either way persistence has begun to look.
            await told.next_msg(timeout=5)
            assert await status(http, key, "/v1/traces") == 403
            await proxy.go_away()
            revoke = {"do": "revoke", "id": key.split("_")[1]}
            await asyncio.to_thread(key_tool.answer, revoke, PersistenceSettings(data_dir=tmp_path))
            assert await status(http, key, "/v1/traces") == 403
            while b"revoked_at" not in (await told.next_msg(timeout=5)).data:
                pass
            await proxy.come_back()
            await eventually(lambda: _refused(http, key), "the key is refused")


async def test_keys_of_a_database_that_was_restored_are_learned_anew(nats_broker: NatsServer, tmp_path: Path) -> None:
    options = {"auth": "keys", "key_pepper": PEPPER, "gateway_keys_refresh_seconds": 0.2}
    async with running_gateway(nats_broker, **options) as (_, http, gateway):
        for name in ("before", "restored"):
            async with persistence_service.persistence(nats_broker, tmp_path / name) as behind:
                stand = Stand(tmp_path / name, http, http, [gateway], behind, AsyncExitStack())
                keys = [stand.make(scopes=["ingest"]) for _ in range(3 if name == "before" else 1)]
                assert [await status(http, key, "/v1/traces") for key in keys] == [403] * len(keys)
                if name == "before":
                    lost = keys[0]
        await eventually(lambda: _refused_or_away(http, lost), "a key that the database does not hold opens nothing")


async def _refused_or_away(http: httpx.AsyncClient, key: str) -> bool:
    return await status(http, key, "/v1/traces") in (401, 503)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda key: None, "missing"),
        (lambda key: "Basic abc", "malformed"),
        (lambda key: "Bearer abc", "malformed"),
        (lambda key: f"Bearer {key[:-4]}AAAA", "wrong_secret"),
        (lambda key: f"Bearer {new_key(PEPPER).text}", "unknown_key"),
    ],
    ids=["none", "basic", "nonsense", "wrong secret", "made up"],
)
async def test_nobody_else_gets_in(stand: Stand, change: Any, reason: str) -> None:
    header = change(stand.make())
    headers = {"Authorization": header} if header else {}
    reply = await stand.first.get("/v1/documents", headers=headers)
    problem = reply.json()
    assert (reply.status_code, problem["code"]) == (401, "unauthenticated")
    assert reply.headers["www-authenticate"].startswith('Bearer realm="rag"')
    assert ('error="invalid_token"' in reply.headers["www-authenticate"]) == (reason != "missing")
    assert problem["trace_id"] == reply.headers["x-trace-id"]


async def test_an_expired_key_opens_nothing(stand: Stand) -> None:
    key = stand.make(expires_at="2100-01-01T00:00:00Z")
    assert await status(stand.first, key) == 200
    admin = stand.make()
    made = await stand.first.post("/v1/admin/keys", headers=bearer(admin), json={"scopes": ["query"], "expires": "1s"})

    async def expired() -> bool:
        return await status(stand.second, made.json()["key"]) == 401

    await eventually(expired, "the key has expired")


async def test_what_is_refused_speaks_the_language_of_its_path(stand: Stand) -> None:
    key = stand.make(scopes=["ingest"])
    chat = await stand.first.post("/v1/chat/completions", json={})
    assert (chat.status_code, chat.json()["error"]["code"]) == (401, "invalid_api_key")
    assert "www-authenticate" in chat.headers
    forbidden = await stand.first.get("/v1/models", headers=bearer(key))
    assert (forbidden.status_code, forbidden.json()["error"]["type"]) == (403, "permission_error")
    mcp = await stand.first.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "ping"})
    assert (mcp.status_code, mcp.json()["error"]["data"]["code"]) == (401, "unauthenticated")
    assert "www-authenticate" in mcp.headers


async def test_a_missing_scope_is_named(stand: Stand) -> None:
    key = stand.make(scopes=["query"])
    reply = await stand.first.post("/v1/documents", headers=bearer(key), json={"documents": [{"text": "a"}]})
    problem = reply.json()
    assert (reply.status_code, problem["code"], problem["missing_scope"]) == (403, "forbidden", "ingest")


async def test_no_path_is_reached_by_nobody_but_those_that_are_open(stand: Stand) -> None:
    for path in (
        "/live",
        "/ready",
        "/health",
        "/health/detailed",
        "/metrics",
        "/docs",
        "/openapi.json",
        "/asyncapi",
        "/",
    ):
        assert (await stand.first.get(path)).status_code in (200, 503)
    for path in (
        "/v1/nothing",
        "/v1/me",
        "/console/../v1/documents",
        "/console",
        "/docs/../v1/documents",
        "/health/../v1/documents",
        "//v1/documents",
        "/livex",
    ):
        assert (await stand.first.get(path)).status_code == 401


async def test_the_tenant_is_that_of_the_key_whatever_the_caller_writes(stand: Stand) -> None:
    acme, globex = stand.make("acme"), stand.make("globex")
    headers = {**bearer(acme), subjects.HEADER_TENANT: "globex"}
    body = {"tenant": "globex", "documents": [{"id": "a", "text": "Water boils.", "tenant": "globex"}]}
    sent = await stand.first.post("/v1/documents?tenant=globex", headers=headers, json=body)
    assert sent.status_code == 202

    async def ids(key: str) -> list[str]:
        reply = await stand.second.get("/v1/documents", headers={**bearer(key), subjects.HEADER_TENANT: "acme"})
        return [item["id"] for item in reply.json()["items"]]

    await eventually(lambda: _is(ids(acme), ["a"]), "the document is recorded")
    assert await ids(globex) == []


async def _is(found: Any, wanted: Any) -> bool:
    return bool(await found == wanted)


async def test_keys_of_other_tenants_are_the_operators_business_alone(stand: Stand) -> None:
    operator, acme, globex = stand.make("default"), stand.make("acme"), stand.make("globex")
    foreign, nothing = globex.split("_")[1], "a" * 12
    ask = stand.first
    refused = await ask.post("/v1/admin/keys", headers=bearer(acme), json={"tenant": "globex", "scopes": ["query"]})
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    gone = [await ask.delete(f"/v1/admin/keys/{key}", headers=bearer(acme)) for key in (foreign, nothing)]
    assert [reply.status_code for reply in gone] == [404, 404]
    first, second = (_without_trace(reply.json()) for reply in gone)
    assert str(first).replace(foreign, nothing) == str(second)
    listed = (await ask.get("/v1/admin/keys", headers=bearer(acme))).json()["items"]
    assert {key["tenant"] for key in listed} == {"acme"}
    assert "digest" not in str(listed)
    made = await ask.post("/v1/admin/keys", headers=bearer(operator), json={"tenant": "globex", "scopes": ["query"]})
    assert made.json()["tenant"] == "globex"
    every = (await ask.get("/v1/admin/keys", headers=bearer(operator))).json()["items"]
    assert {key["tenant"] for key in every} >= {"default", "acme", "globex"}
    assert (await ask.delete(f"/v1/admin/keys/{foreign}", headers=bearer(operator))).status_code == 200
    assert (await ask.post("/v1/admin/reconcile", headers=bearer(acme), json={})).status_code == 403


def _without_trace(problem: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in problem.items() if name != "trace_id"}


async def test_the_audit_tells_who_did_what_and_each_tenant_its_own(stand: Stand) -> None:
    acme, globex = stand.make("acme"), stand.make("globex")
    await stand.first.delete("/v1/documents/nothing", headers=bearer(acme))
    await stand.first.delete("/v1/admin/dead-letters/7", headers=bearer(acme))
    await stand.first.get("/v1/admin/pipeline", headers=bearer(acme))
    expected = {"key_created", "key_used", "deleted", "discarded", "admin_called"}

    async def actions() -> set[str]:
        return {entry["action"] for entry in await stand.audit(acme, limit="200")}

    async def complete() -> bool:
        return expected <= await actions()

    await eventually(complete, "all of it is in the audit")
    [deleted] = await stand.audit(acme, action="deleted", actor=acme.split("_")[1])
    assert (deleted["actor"], deleted["target"]) == (acme.split("_")[1], {"document_id": "nothing"})
    assert acme.split("_")[1] not in str(await stand.audit(globex))
    assert acme not in str(await stand.audit(acme))


async def test_failed_authentications_are_for_the_operator_to_see(stand: Stand) -> None:
    operator = stand.make("default")
    for _ in range(50):
        await stand.first.get("/v1/documents")

    async def told() -> list[dict[str, Any]]:
        found = await stand.audit(operator, action="auth_failed")
        return found if "missing" in {entry["reason"] for entry in found} else []

    failed = await eventually(told, "the failure is in the audit")
    assert [entry["status"] for entry in failed if entry["reason"] == "missing"] == [401]
