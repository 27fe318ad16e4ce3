"""Requests and messages that nobody should send, against a whole platform: they cost themselves alone.

`make test` tries a few of each, the same every time; `make fuzz` tries many, other ones every time.
"""

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import nats
import pytest
import requests
import schemathesis
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.result import Ok

from contracts import subjects
from contracts.generate import PUBLISHED, REQUESTED
from contracts.topology import CONSUMERS, STREAMS
from shared.messaging.broker import settle
from tests.broker_asking import ASKERS, Asking, asking, connected
from tests.hostile_messages import KNOWN, bytes_of_no_message, concrete, examples, headers, payloads
from tests.platform_process import RunningPlatform, running_platform, wait_until

EXAMPLES = int(os.environ.get("RAG_TEST_FUZZ_EXAMPLES", "4"))
SEEDED = "RAG_TEST_FUZZ_EXAMPLES" not in os.environ
REQUEST_SECONDS = 60.0
# A message that may be right in a while is tried again until then.
SETTLED_SECONDS = 420.0 if not SEEDED else 90.0

pytestmark = pytest.mark.timeout(0 if not SEEDED else 180)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    """A platform of this file's own: what is sent here would be in the way of other tests."""
    with running_platform(tmp_path_factory.mktemp("hostile")) as running:
        yield running


@pytest.fixture(scope="module")
def known(platform: RunningPlatform) -> dict[str, Any]:
    """Things to ask for that are there: a document, an answer in a conversation, a trace, a dead letter."""
    with httpx.Client(base_url=platform.url, timeout=REQUEST_SECONDS) as api:
        index(api, KNOWN, "default")
        asked = api.post("/v1/query", json={"question": "At what does water boil?", "conversation_id": KNOWN}).json()
        bad = {"id": "bad", "content": "JVBERi0=", "filename": "bad.pdf"}
        assert api.post("/v1/documents?wait_s=30", json={"documents": [bad]}).status_code == 202
        letters = wait_until(lambda: api.get("/v1/admin/dead-letters").json()["items"], "the dead letter is kept")
        wait_until(lambda: api.get(f"/v1/traces/{asked['trace_id']}").status_code == 200, "the trace is kept")
    return {
        "document_id": KNOWN,
        "conversation_id": KNOWN,
        "query_id": asked["id"],
        "trace_id": asked["trace_id"],
        "seq": letters[0]["seq"],
        "name": "default",
    }


@pytest.fixture(scope="module")
def operations(platform: RunningPlatform) -> list[Any]:
    """Every operation of the OpenAPI document; those that delete come last."""
    load_all_checks()
    schema = schemathesis.openapi.from_url(f"{platform.url}/openapi.json")
    found = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    assert len(found) == schema.statistic.operations.total
    return sorted(found, key=lambda operation: operation.method == "delete")


def index(api: httpx.Client, document_id: str, collection: str) -> None:
    document = {"id": document_id, "collection": collection, "text": f"Water boils at 100 degrees, says {document_id}."}
    reply = api.post("/v1/documents?wait_s=60", json={"documents": [document]})
    assert [one["status"] for one in reply.json()["documents"]] == ["indexed"], reply.text


def require_soundness(platform: RunningPlatform, before: set[int], name: str) -> None:
    """What comes behind is served: a document is indexed and found, a question answered; no process has fallen."""
    with httpx.Client(base_url=platform.url, timeout=REQUEST_SECONDS) as api:
        index(api, name, name)
        answer = api.post("/v1/query", json={"question": "At what does water boil?", "collection": name}).json()
        assert name in {citation["document_id"] for citation in answer["citations"]}, answer
        wait_until(lambda: api.get("/health").json()["status"] == "ok", "every part is ready", REQUEST_SECONDS)
    assert pids(platform) == before


def pids(platform: RunningPlatform) -> set[int]:
    """The launcher, the broker and the services; children of the parser may be replaced."""
    launcher = platform.processes()[0]
    return {launcher.pid, *(child.pid for child in launcher.children())}


def conforms(case: Any, session: requests.Session) -> None:
    """The answer is none of a failure of ours, and what the OpenAPI document says of it."""
    reply = case.call(session=session, timeout=REQUEST_SECONDS)
    names = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance")
    case.validate_response(reply, checks=[CHECKS.get_one(name) for name in (*names, "response_headers_conformance")])


@pytest.mark.parametrize("mode", [GenerationMode.NEGATIVE, GenerationMode.POSITIVE], ids=["negative", "positive"])
def test_every_request_is_answered_as_the_openapi_document_says(
    platform: RunningPlatform, known: dict[str, Any], operations: list[Any], mode: GenerationMode
) -> None:
    """INVARIANT: no request makes the platform fail; a refusal is a problem with a 4xx, whatever is wrong."""
    before = pids(platform)
    with requests.Session() as session:
        for operation in operations:
            if mode is GenerationMode.NEGATIVE and not (operation.query or operation.body):
                # All that could be wrong is the path, and any text is one.
                continue
            try_cases(operation.as_strategy(generation_mode=mode), session, EXAMPLES)
            there = {name.name: known[name.name] for name in operation.path_parameters if name.name in known}
            if there and mode is GenerationMode.POSITIVE:
                try_cases(operation.as_strategy(generation_mode=mode, path_parameters=there), session, EXAMPLES // 2)
    require_soundness(platform, before, f"after-{mode.value}")


def try_cases(cases: st.SearchStrategy[Any], session: requests.Session, count: int) -> None:
    @examples(count, seeded=SEEDED)
    @given(case=cases)
    def run(case: Any) -> None:
        conforms(case, session)

    run()


def test_whatever_reaches_the_mcp_endpoint_is_answered(platform: RunningPlatform) -> None:
    before = pids(platform)
    accepts = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    methods = st.sampled_from(("initialize", "tools/list", "tools/call", "ping", "resources/read", "", None))
    json_values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
    calls = st.fixed_dictionaries(
        {}, optional={"jsonrpc": st.just("2.0"), "id": json_values, "method": methods, "params": json_values}
    )
    bodies = st.one_of(calls.map(lambda call: json.dumps(call).encode()), bytes_of_no_message())
    with httpx.Client(base_url=platform.url, timeout=REQUEST_SECONDS, headers=accepts) as api:

        @examples(EXAMPLES * 4, seeded=SEEDED)
        @given(body=bodies)
        def run(body: bytes) -> None:
            reply = api.post("/mcp", content=body)
            assert reply.status_code < 500, (body, reply.text)

        run()
    require_soundness(platform, before, "after-mcp")


def test_every_request_on_the_broker_gets_a_reply_that_is_no_fault(
    platform: RunningPlatform, known: dict[str, Any]
) -> None:
    """INVARIANT: a request that makes no sense is refused by the service that reads it, which goes on."""
    assert known
    before = pids(platform)
    with asking(platform) as services:
        asked = {subject: pair[0] for subject, pair in REQUESTED.items() if subject in ASKERS}
        for subject, bodies in payloads(asked).items():
            ask_often(services, subject, bodies)
    require_soundness(platform, before, "after-requests")


def ask_often(services: Asking, subject: str, bodies: st.SearchStrategy[bytes]) -> None:
    @examples(EXAMPLES * 2, seeded=SEEDED)
    @given(body=bodies, sent=headers())
    def run(body: bytes, sent: dict[str, str] | None) -> None:
        reply = services.request(subject, body, timeout=REQUEST_SECONDS, headers=sent)
        if subjects.HEADER_ERROR in (reply.headers or {}):
            assert json.loads(reply.data)["kind"] != "fault", (subject, body[:1_000], sent)

    run()


def publish_often(runner: asyncio.Runner, client: Client, subject: str, bodies: st.SearchStrategy[bytes]) -> None:
    @examples(EXAMPLES * 2, seeded=SEEDED)
    @given(body=bodies, sent=headers(), tenant=st.sampled_from(("default", "other", "Up.Per")))
    def run(body: bytes, sent: dict[str, str] | None, tenant: str) -> None:
        runner.run(client.publish(concrete(subject, tenant), body, headers=sent))

    run()


def test_every_message_in_a_stream_ends_as_done_or_as_a_dead_letter(
    platform: RunningPlatform, known: dict[str, Any]
) -> None:
    """INVARIANT: nothing poisons a queue; what cannot be worked on is buried with a reason that is not a fault of ours.

    Every stream is here: a new one fails until something is sent to it.
    """
    assert known
    before = pids(platform)
    with asyncio.Runner() as runner, ExitStack() as closing:
        client = runner.run(connected(platform))
        closing.callback(lambda: runner.run(client.close()))
        for subject, bodies in streamed().items():
            publish_often(runner, client, subject, bodies)
        runner.run(settle(client))
        require_soundness(platform, before, "after-messages")
        wait_until(lambda: not runner.run(unfinished(client)), "every message has ended", SETTLED_SECONDS)
        assert runner.run(faults(client)) == []
    require_soundness(platform, before, "after-everything")


def streamed() -> dict[str, st.SearchStrategy[bytes]]:
    found = payloads(PUBLISHED)
    for subject in ("rag.v1.facts.of.nothing", subjects.dead("parser"), subjects.dead("persistence-dead")):
        found[subject] = bytes_of_no_message()
    for consumer in ("INGEST.parser", "INGEST.nobody"):
        found[subjects.MAX_DELIVERIES_ADVISORIES.replace(">", consumer)] = bytes_of_no_message()
    taken = {stream.name for stream in STREAMS for subject in found if stream_takes(stream.subjects, subject)}
    assert taken == {stream.name for stream in STREAMS}
    return found


def stream_takes(patterns: tuple[str, ...], subject: str) -> bool:
    """Tell whether a stream of ours stores a subject: patterns end in a wildcard or have none."""
    return any(subject == pattern or subject.startswith(pattern.rstrip("*>")) for pattern in patterns)


async def unfinished(client: Client) -> dict[str, int]:
    """Return how many messages each consumer has left."""
    jetstream = client.jetstream()
    left = {}
    for consumer in CONSUMERS:
        info = await jetstream.consumer_info(consumer.stream, consumer.name)
        if waiting := (info.num_pending or 0) + (info.num_ack_pending or 0):
            left[consumer.name] = waiting
    return left


async def faults(client: Client) -> list[str]:
    """Return the dead letters that nobody in the platform had foreseen."""
    jetstream = client.jetstream()
    state = (await jetstream.stream_info("DEAD")).state
    found = []
    for sequence in range(state.first_seq, state.last_seq + 1):
        try:
            letter = await jetstream.get_msg("DEAD", sequence)
        except nats.js.errors.NotFoundError:
            continue
        if (letter.headers or {}).get(subjects.HEADER_DEAD_CODE) == "internal_error":
            found.append(f"{letter.headers}: {(letter.data or b'')[:500]!r}")
    return found
