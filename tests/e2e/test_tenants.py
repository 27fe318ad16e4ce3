"""INVARIANT: a tenant sees only its own: every route and every request on the broker, asked with another tenant's ids.

What is another's must look like what does not exist, byte for byte, apart from the id that was asked for.
"""

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
from tests.broker_asking import ASKERS, Asking, asking
from tests.platform_process import RunningPlatform, rag, running_platform, wait_until

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
}
LISTS: Final = (
    "GET /v1/documents",
    "GET /v1/conversations",
    "GET /v1/collections",
    "GET /v1/models",
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
    subjects.DELETE_CONVERSATION: '"conversation_id": "{conversation_id}"',
    subjects.READ_QUERY: '"query_id": "{query_id}"',
    subjects.READ_TRACE: '"trace_id": "{trace_id}"',
    subjects.READ_DEAD_LETTER: '"seq": {seq}',
    subjects.DISCARD_DEAD_LETTER: '"seq": {seq}',
    subjects.REPLAY_DEAD_LETTERS: '"seqs": [{seq}]',
    subjects.READ_COLLECTIONS: '"name": "{name}"',
    subjects.READ_DOCUMENTS: '"collection": "{name}"',
    subjects.READ_CONVERSATIONS: "",
    subjects.READ_DEAD_LETTERS: "",
    subjects.RETRIEVE: '"query": "boil", "collection": "{name}"',
    subjects.INDEX_COUNTS: '"collection": "{name}"',
}
# The rest names no tenant's things, or is told by services of what they have checked; keys are asked for by gateways,
# which learn all of them, and listed by their tenant over HTTP above.
OF_NO_TENANT: Final = (
    subjects.EMBED_QUERY,
    subjects.HEALTH,
    subjects.RECONCILE,
    subjects.RECORD_TURN,
    subjects.READ_IDEMPOTENCY,
    subjects.READ_TRACES,
    "rag.v1.index.",
    "rag.v1.keys.",
    "rag.v1.read.key",
    "rag.v1.audit",
    "rag.v1.read.audit",
)


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
    with running_platform(tmp_path_factory.mktemp("tenants"), RAG_AUTH="keys") as platform, ExitStack() as stack:
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
    for one in (document, bad):
        assert api.post("/v1/documents?wait_s=60", json={"documents": [one]}).status_code == 202
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
    }


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


def test_a_resumed_stream_and_tools_are_of_the_tenant_alone(stand: Stand) -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    accepts = {"Accept": "application/json, text/event-stream"}
    replies = []
    for document_id in ("secret", "nothing"):
        params = {"name": "get_document", "arguments": {"document_id": document_id}}
        reply = stand.other.post("/mcp", json={**call, "params": params}, headers=accepts)
        replies.append(reply.text.replace(document_id, "<id>").replace(reply.headers.get("x-trace-id", "-"), "<trace>"))
    assert replies[0] == replies[1]
    assert "77 degrees" not in replies[0]


def test_every_request_on_the_broker_takes_what_is_another_tenant_s_for_what_does_not_exist(stand: Stand) -> None:
    """A new subject fails here until it has a row."""
    for subject in REQUESTED:
        assert subject in FILLED or subject.startswith(OF_NO_TENANT), f"{subject} has no row here"
    with asking(stand.platform) as services:
        for subject, fields in FILLED.items():
            if subject not in ASKERS:
                continue  # The broker lets nobody ask it.
            foreign = asked(services, subject, fields, stand.things)
            none = asked(services, subject, fields, NOTHING)
            assert foreign == none, subject
            assert "77 degrees" not in foreign


def asked(services: Asking, subject: str, fields: str, things: Mapping[str, Any]) -> str:
    body = "{" + ", ".join(part for part in ('"tenant": "other"', fields.format(**things)) if part) + "}"
    reply = services.request(subject, body.encode(), timeout=30)
    found = json.loads(reply.data)
    # Where the time went.
    found.pop("took_ms", None)
    return anonymous(json.dumps(found, sort_keys=True), things)


@pytest.mark.parametrize("path", ["/v1/search", "/v1/query"])
def test_what_another_tenant_asked_and_was_told_is_not_found_again(stand: Stand, path: str) -> None:
    """Comes last, for it leaves a conversation of the same name behind.

    The very question, whose vector, hits and answer are cached, and the conversation in which it was asked.
    """
    body = {"query": QUESTION} if path == "/v1/search" else {"question": QUESTION, "conversation_id": "talk"}
    own = stand.acme.post(path, json=body)
    assert "77 degrees" in own.text
    reply = stand.other.post(path, json=body)
    assert reply.status_code == 200
    assert "77 degrees" not in reply.text
    assert "secret" not in reply.text
