"""INVARIANT: a tenant sees only its own: every route and every request on the broker, asked with another tenant's ids.

What is another's must look like what does not exist, byte for byte, apart from the id that was asked for.
"""

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any, Final

import httpx
import pytest

from contracts import subjects
from contracts.generate import REQUESTED
from contracts.traffic import TRAFFIC
from services.gateway.idempotency import IdempotencyKey
from tests.broker_asking import Asking, asking, connected
from tests.platform_process import RunningPlatform, rag, running_platform, wait_until

# A platform may start slowly beside other tests.
pytestmark = pytest.mark.timeout(180)

WORD: Final = "Zanzibarium"
QUESTION: Final = f"At what does {WORD} boil?"
# What does not exist, of the same form as what does.
NOTHING: Final[Mapping[str, Any]] = {
    "document_id": "nothing",
    "conversation_id": "nothing",
    "query_id": "0" * 32,
    "trace_id": "0123456789abcdef" * 2,
    "seq": 999_999,
    "name": "nothing",
    "key_id": "222222222222",
    "used_key": "f" * 64,
}
LISTS: Final = (
    "GET /v1/documents",
    "GET /v1/conversations",
    "GET /v1/collections",
    "GET /v1/models",
    "GET /v1/usage",
    "GET /v1/traces",
    "GET /v1/admin/dead-letters",
    "GET /v1/admin/keys",
    "GET /v1/admin/audit",
    "POST /v1/admin/dead-letters/replay",
)
# Bodies that name what is asked for.
BODIES: Final[Mapping[str, str]] = {
    "POST /v1/search": '{{"query": "boil", "collection": "{name}"}}',
    "POST /v1/query": '{{"question": "At what does it boil?", "collection": "{name}"}}',
    "POST /v1/feedback": '{{"query_id": "{query_id}", "rating": "up"}}',
    "POST /v1/chat/completions": '{{"model": "rag:{name}", "messages": [{{"role": "user", "content": "boil?"}}]}}',
}
# Of all tenants: for the operator's tenant only, or without anything of a tenant in it.
PLATFORM_WIDE: Final = frozenset({"GET /v1/admin/pipeline", "POST /v1/admin/reindex", "POST /v1/admin/reconcile"})
NOBODYS: Final = frozenset({"GET /health", "GET /health/detailed", "POST /v1/embeddings", "GET /v1/me"})
# These write for the caller's own tenant.
OWN: Final = frozenset({"POST /v1/documents", "POST /v1/admin/keys"})
FILLED: Final[Mapping[str, str]] = {
    subjects.READ_DOCUMENT: '"document_id": "{document_id}"',
    subjects.READ_PASSAGES: '"document_id": "{document_id}"',
    subjects.READ_CONVERSATION: '"conversation_id": "{conversation_id}"',
    subjects.CONVERSATION_HISTORY: '"conversation_id": "{conversation_id}", "query_id": "q", "turns": 5',
    subjects.READ_QUERY: '"query_id": "{query_id}"',
    subjects.READ_TRACE: '"trace_id": "{trace_id}"',
    subjects.READ_DEAD_LETTER: '"seq": {seq}',
    subjects.READ_COLLECTIONS: '"name": "{name}"',
    subjects.READ_DOCUMENTS: '"collection": "{name}"',
    subjects.READ_USAGE: '"documents": ["{document_id}"]',
    subjects.RETRIEVE: '"query": "boil", "collection": "{name}"',
    subjects.READ_IDEMPOTENCY: '"keys": ["{used_key}"]',
    subjects.INDEX_EPOCH: '"collection": "{name}"',
}
# These take no id; what they list is compared.
LISTED: Final[Mapping[str, str]] = {
    subjects.READ_CONVERSATIONS: "id",
    subjects.READ_DEAD_LETTERS: "seq",
    subjects.READ_TRACES: "trace_id",
    subjects.READ_AUDIT: "id",
    subjects.KEYS_LIST: "id",
}
# These change what they name: they are asked for another tenant's things, and its own are looked at afterwards.
CHANGING: Final[Mapping[str, str]] = {
    subjects.DELETE_CONVERSATION: '"conversation_id": "{conversation_id}"',
    subjects.DISCARD_DEAD_LETTER: '"seq": {seq}',
    subjects.REPLAY_DEAD_LETTERS: '"seqs": [{seq}]',
    subjects.KEYS_REVOKE: '"id": "{key_id}"',
}
# These bring something of the caller's own, which may be called as another tenant's is.
BRINGING: Final[Mapping[str, str]] = {
    subjects.INDEX_FENCE: '"document_id": "{document_id}", "floor": 1000000000',
    subjects.RECORD_TURN: '"conversation_id": "{conversation_id}", "query_id": "q2", "version": 9, "question": "q", '
    '"answer": "overwritten", "answered": true, "asked_at": "{moment}", "answered_at": "{moment}"',
    subjects.KEYS_CREATE: '"id": "{key_id}", "prefix": "rag_x", "scopes": ["admin"], "digest": "{digest}"',
}
# These have no field for a tenant, so that nobody's could be taken for another's: they are about the whole platform,
# and each is asked by these services alone.
OF_NO_TENANT: Final[Mapping[str, frozenset[str]]] = {
    subjects.EMBED_QUERY: frozenset({"gateway", "retriever", "agent"}),
    subjects.HEALTH: frozenset({"gateway"}),
    subjects.RECONCILE: frozenset({"gateway"}),
    subjects.INDEX_REINDEX: frozenset({"gateway"}),
    subjects.INDEX_FENCES: frozenset({"gateway", "persistence"}),
    subjects.INDEX_REVISIONS: frozenset({"persistence"}),
    subjects.INDEX_REMOVE: frozenset({"persistence"}),
    subjects.KEYS_CHANGES: frozenset({"gateway"}),
}
MCP_TOOLS: Final[Mapping[str, str]] = {
    "search": '"query": "boil", "collection": "{name}"',
    "ask": '"question": "At what does it boil?", "collection": "{name}"',
    "get_document": '"id": "{document_id}"',
}
# It writes for the caller's own tenant.
OWN_TOOL: Final = "ingest_text"
IDEMPOTENT: Final = {"Idempotency-Key": "the same for all"}


@dataclass
class Stand:
    """A platform with two tenants: `acme` has everything in `things`, `other` nothing."""

    platform: RunningPlatform
    acme: httpx.Client
    other: httpx.Client
    things: dict[str, Any]


def key_of(platform: RunningPlatform, tenant: str) -> dict[str, Any]:
    options = ("--tenant", tenant, "--scopes", "ingest,query,admin", "--data", str(platform.data), "--json")
    made = rag("keys", "create", *options)
    assert made.returncode == 0, made.stderr
    found: dict[str, Any] = json.loads(made.stdout)
    return found


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    settings = {"RAG_AUTH": "keys", "RAG_QUOTAS": '{"small": {"documents": 1}}'}
    with running_platform(tmp_path_factory.mktemp("tenants"), **settings) as platform, ExitStack() as stack:
        key = key_of(platform, "acme")
        acme = stack.enter_context(closing(client_with(platform, key)))
        other = stack.enter_context(closing(client_with(platform, key_of(platform, "other"))))
        yield Stand(platform, acme, other, {**filled(acme), "key_id": key.get("id") or key["key"].split("_")[1]})


def client_with(platform: RunningPlatform, key: Mapping[str, Any]) -> httpx.Client:
    client = httpx.Client(base_url=platform.url, timeout=60, headers={"Authorization": f"Bearer {key['key']}"})
    wait_until(lambda: client.get("/v1/documents").status_code == 200, "the gateway knows the key")
    return client


def filled(api: httpx.Client) -> dict[str, Any]:
    document = {"id": "secret", "collection": "vault", "text": f"{WORD} boils at 77 degrees."}
    bad = {"id": "bad", "content": "JVBERi0=", "filename": f"{WORD}.pdf"}
    assert sent(api, document, **IDEMPOTENT)["status"] == "indexed"
    assert sent(api, bad)["status"] == "failed"
    asked = api.post("/v1/query", json={"question": QUESTION, "conversation_id": "talk"}).json()
    assert asked["answered"], asked
    letters = wait_until(lambda: api.get("/v1/admin/dead-letters").json()["items"], "the dead letter is kept")
    trace = f"/v1/traces/{asked['trace_id']}"
    wait_until(lambda: api.get(trace).status_code == 200, "the trace is kept")
    wait_until(lambda: api.get("/v1/conversations/talk").status_code == 200, "the conversation is kept")
    return {
        "document_id": "secret",
        "conversation_id": "talk",
        "query_id": asked["id"],
        "trace_id": asked["trace_id"],
        "seq": letters[0]["seq"],
        "name": "vault",
        "used_key": IdempotencyKey("acme", IDEMPOTENT["Idempotency-Key"]).of(0),
    }


def sent(api: httpx.Client, document: Mapping[str, Any], **headers: str) -> dict[str, Any]:
    """Send a document and return its receipt, once it is indexed or failed."""
    reply = api.post("/v1/documents?wait_s=60", json={"documents": [document]}, headers=headers)
    assert reply.status_code == 202, reply.text
    [receipt] = reply.json()["documents"]
    return dict(receipt)


def answer(api: httpx.Client, operation: str, things: Mapping[str, Any]) -> tuple[int, str]:
    """Return status and body of a request about things, without what names them or the request itself."""
    method, path = operation.split(" ")
    body = BODIES.get(operation, "{{}}" if method == "POST" else None)
    content = body.format(**things) if body else None
    headers = {"Content-Type": "application/json"} if body else {}
    reply = api.request(method, path.format(**things), content=content, headers=headers)
    return reply.status_code, anonymous(reply.text, things, reply.headers.get("x-trace-id", ""))


def anonymous(text: str, things: Mapping[str, Any], trace_id: str = "") -> str:
    """Replace every id by the same word, longest first: a number may be part of a longer one."""
    for value in sorted({str(value) for value in [trace_id, *things.values()] if value}, key=len, reverse=True):
        text = re.sub(rf"(?<![\w.-]){re.escape(value)}(?![\w.-])", "<it>", text)
    return text


def operations(stand: Stand) -> list[str]:
    """Return every operation of the OpenAPI document; those that delete come last."""
    paths = stand.acme.get("/openapi.json").json()["paths"]
    found = [f"{method.upper()} {path}" for path, methods in paths.items() for method in methods]
    return sorted(found, key=lambda operation: operation.startswith("DELETE"))


def test_every_route_takes_what_is_another_tenant_s_for_what_does_not_exist(stand: Stand) -> None:
    """A new route fails here until it has a row: an id in its path is asked for by itself."""
    rows = {*LISTS, *BODIES, *PLATFORM_WIDE, *NOBODYS, *OWN}
    for operation in operations(stand):
        if "{" in operation or operation in BODIES:
            foreign, none = answer(stand.other, operation, stand.things), answer(stand.other, operation, NOTHING)
            assert told(foreign) == told(none), operation
            assert foreign[0] == 404, (operation, foreign)
        elif operation in PLATFORM_WIDE:
            assert answer(stand.other, operation, {})[0] == 403 or no_secret(stand, operation), operation
        else:
            assert operation in rows, f"{operation} has no row here"
            assert operation in OWN or no_secret(stand, operation), operation
    assert stand.acme.get("/v1/documents/secret").json()["status"] == "indexed", "nothing was done to what is another's"
    assert stand.acme.get("/v1/conversations/talk").status_code == 200
    assert stand.acme.get(f"/v1/admin/dead-letters/{stand.things['seq']}").status_code == 200


def told(reply: tuple[int, str]) -> tuple[int, str]:
    """Return a reply without ids that are made anew for every request."""
    status, text = reply
    if not text.startswith("{"):
        return reply
    body = json.loads(text)
    return status, json.dumps({name: value for name, value in body.items() if name != "trace_id"}, sort_keys=True)


def no_secret(stand: Stand, operation: str) -> bool:
    _, text = answer(stand.other, operation, {})
    things = [str(value) for name, value in stand.things.items() if name not in ("seq", "conversation_id")]
    return not any(word in text for word in (WORD, "vault", "acme", '"talk"', *things))


def test_every_mcp_tool_takes_what_is_another_tenant_s_for_what_does_not_exist(stand: Stand) -> None:
    """A new tool fails here until it has a row; its own tenant finds what the other does not."""
    names = {tool["name"] for tool in mcp(stand.acme, "tools/list", {})["result"]["tools"]}
    assert names == {*MCP_TOOLS, OWN_TOOL}
    for name in MCP_TOOLS:
        own, foreign = told_by(stand.acme, name, stand.things), told_by(stand.other, name, stand.things)
        assert "77 degrees" in own, name
        assert foreign == told_by(stand.other, name, NOTHING), name
        assert "77 degrees" not in foreign


def mcp(api: httpx.Client, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    accepts = {"Accept": "application/json, text/event-stream"}
    reply = api.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, headers=accepts)
    assert reply.status_code == 200, reply.text
    is_stream = reply.headers["content-type"].startswith("text/event-stream")
    # The last event is the answer; progress may come before it.
    found: dict[str, Any] = json.loads(reply.text.rpartition("data: ")[2]) if is_stream else reply.json()
    return found


def told_by(api: httpx.Client, tool: str, things: Mapping[str, Any]) -> str:
    """Return what a tool says, without what names things or the request."""
    arguments = json.loads("{" + MCP_TOOLS[tool].format(**things) + "}")
    result = mcp(api, "tools/call", {"name": tool, "arguments": arguments})["result"]
    own = {name: (result.get("structuredContent") or {}).get(name) for name in ("id", "trace_id")}
    text = anonymous(json.dumps(result, sort_keys=True), {**things, **{f"own_{name}": own[name] for name in own}})
    return re.sub(r"\(trace [0-9a-f]{32}\)", "(trace <it>)", text)


def test_every_request_on_the_broker_is_asked_below() -> None:
    """A new subject fails here until it has a row."""
    rows = (FILLED, LISTED, CHANGING, BRINGING, OF_NO_TENANT)
    assert sorted(subject for row in rows for subject in row) == sorted(REQUESTED)
    for subject, (request, _) in REQUESTED.items():
        assert ("tenant" in request.model_fields) == (subject not in OF_NO_TENANT), subject
    told = {item.subject: frozenset(item.sends) for item in TRAFFIC}
    assert {subject: told[subject] for subject in OF_NO_TENANT} == OF_NO_TENANT


def test_every_request_on_the_broker_takes_what_is_another_tenant_s_for_what_does_not_exist(stand: Stand) -> None:
    with asking(stand.platform) as services:
        for subject, fields in FILLED.items():
            own, foreign, none = (
                asked(services, subject, fields, things, tenant)
                for tenant, things in (("acme", stand.things), ("other", stand.things), ("other", NOTHING))
            )
            assert foreign == none, subject
            assert own != none, f"{subject}: its own tenant finds it"
            assert "77 degrees" not in foreign


def test_every_list_on_the_broker_is_of_one_tenant(stand: Stand) -> None:
    with asking(stand.platform) as services:
        for subject, name in LISTED.items():
            own, foreign = (
                {item[name] for item in json.loads(asked(services, subject, "", {}, tenant))["items"]}
                for tenant in ("acme", "other")
            )
            assert own, subject
            assert not own & foreign, subject


def test_no_request_on_the_broker_changes_what_is_another_tenant_s(stand: Stand) -> None:
    with asking(stand.platform) as services:
        for subject, fields in CHANGING.items():
            foreign = asked(services, subject, fields, stand.things, "other")
            assert foreign == asked(services, subject, fields, NOTHING, "other"), subject
    require_untouched(stand)


def asked(services: Asking, subject: str, fields: str, things: Mapping[str, Any], tenant: str) -> str:
    body = "{" + ", ".join(part for part in (f'"tenant": "{tenant}"', fields.format(**things)) if part) + "}"
    reply = services.request(subject, body.encode(), timeout=30)
    found = json.loads(reply.data)
    # Where the time went.
    found.pop("took_ms", None)
    return anonymous(json.dumps(found, sort_keys=True), things)


def require_untouched(stand: Stand) -> None:
    """What acme has is there, as it was."""
    found = stand.acme.post("/v1/search", json={"query": QUESTION}).json()["hits"]
    assert [(hit["document_id"], hit["collection"]) for hit in found] == [("secret", "vault")]
    assert "77 degrees" in found[0]["text"]
    answers = [turn["answer"] for turn in stand.acme.get("/v1/conversations/talk").json()["turns"]]
    assert answers
    assert all("77 degrees" in answer for answer in answers)
    assert stand.acme.get(f"/v1/admin/dead-letters/{stand.things['seq']}").status_code == 200


def test_an_idempotency_key_is_its_tenant_s_alone(stand: Stand) -> None:
    """INVARIANT: who uses a key first takes it from nobody else: each tenant's request has its own effect, once."""
    document = {"id": "mine", "text": "Oil boils at 300 degrees."}
    first, again = (sent(stand.other, document, **IDEMPOTENT) for _ in range(2))
    assert (first["status"], first["duplicate"], again["duplicate"]) == ("indexed", False, True)
    assert again["revision"] == first["revision"]
    own = stand.acme.post("/v1/documents", json={"documents": [document]}, headers=IDEMPOTENT)
    assert (own.status_code, own.json()["code"]) == (422, "idempotency_key_reused"), "acme used it for something else"
    assert stand.acme.get("/v1/documents/mine").status_code == 404


def test_a_quota_is_kept_at_the_gateway_and_past_it_and_is_that_of_the_tenant_alone(stand: Stand) -> None:
    with closing(client_with(stand.platform, key_of(stand.platform, "small"))) as small:
        first, second = ({"id": name, "text": f"The {name} lock."} for name in ("first", "second"))
        sent = small.post("/v1/documents?wait_s=60", json={"documents": [first]}).json()
        assert sent["documents"][0]["status"] == "indexed", sent
        refused = small.post("/v1/documents", json={"documents": [second]})
        assert (refused.status_code, refused.json()["code"]) == (403, "quota_exceeded")
        asyncio.run(produced(stand.platform, "small", second))
        path = "/v1/documents/second"
        wait_until(lambda: small.get(path).json().get("status") == "failed", "the parser has no room either")
        assert small.get(path).json()["error"]["code"] == "quota_exceeded"
        usage = small.get("/v1/usage").json()
        assert (usage["documents"], usage["limits"]) == (1, {"documents": 1, "bytes": None})
        assert small.delete("/v1/documents/first").status_code == 202
        sent = small.post("/v1/documents?wait_s=60", json={"documents": [second]}).json()
        assert sent["documents"][0]["status"] == "indexed", sent
    assert stand.acme.get("/v1/usage").json()["limits"] == {"documents": None, "bytes": None}


async def produced(platform: RunningPlatform, tenant: str, document: Mapping[str, Any]) -> None:
    client = await connected(platform)
    try:
        await client.jetstream().publish(subjects.ingest(tenant), json.dumps(document).encode())
    finally:
        await client.close()


@pytest.mark.parametrize("path", ["/v1/search", "/v1/query"])
def test_what_another_tenant_asked_and_was_told_is_not_found_again(stand: Stand, path: str) -> None:
    """Comes late, for it leaves a conversation of the same name behind.

    The very question, whose vector, hits and answer are cached, and the conversation in which it was asked.
    """
    body = {"query": QUESTION} if path == "/v1/search" else {"question": QUESTION, "conversation_id": "talk"}
    own = stand.acme.post(path, json=body)
    assert "77 degrees" in own.text
    reply = stand.other.post(path, json=body)
    assert reply.status_code == 200
    assert "77 degrees" not in reply.text
    assert "secret" not in reply.text


def test_what_another_tenant_brings_under_the_same_names_replaces_nothing(stand: Stand) -> None:
    """Comes last, for it leaves things of the same names behind."""
    things = {**stand.things, "moment": "2026-01-01T00:00:00Z", "digest": "0" * 64}
    with asking(stand.platform) as services:
        for subject, fields in BRINGING.items():
            asked(services, subject, fields, things, "other")
    arguments = {"id": "secret", "text": "Oil boils at 300 degrees.", "collection": "vault", "wait_s": 30}
    result = mcp(stand.other, "tools/call", {"name": OWN_TOOL, "arguments": arguments})["result"]
    assert not result.get("isError"), result
    require_untouched(stand)
