"""One trace from the HTTP call to the last row written, looked at without any tracing system beside the platform."""

import json
from datetime import datetime
from typing import Any

import httpx

from tests.platform_process import RunningPlatform, rag, wait_until

PIPELINE = {"gateway", "parser", "embedder", "retriever", "persistence"}
QUESTION = {"gateway", "agent", "retriever", "embedder"}
INGESTION = {
    "POST /v1/documents",
    "send rag.v1.ingest.{tenant}",
    "process rag.v1.ingest.{tenant}",
    "process rag.v1.chunks.ready",
    "process rag.v1.chunks.embedded",
    "process rag.v1.facts.document.parsed",
    "process rag.v1.facts.chunks.indexed",
    "process rag.v1.facts.document.indexed",
}


def ingest(api: httpx.Client, document_id: str, text: str, **headers: str) -> str:
    """Index a document; return the trace of it."""
    body = {"documents": [{"id": document_id, "text": text, "collection": "traced"}]}
    reply = api.post("/v1/documents", params={"wait_s": 60}, json=body, headers=headers)
    assert [found["status"] for found in reply.json()["documents"]] == ["indexed"], reply.text
    return reply.headers["X-Trace-Id"]


def complete_trace(api: httpx.Client, trace_id: str, names: set[str]) -> dict[str, Any]:
    """Return the trace once it has spans of these names, and says that it is complete."""

    def found() -> dict[str, Any] | None:
        reply = api.get(f"/v1/traces/{trace_id}")
        trace: dict[str, Any] = reply.json()
        there = {span["name"] for span in trace.get("spans", [])}
        return trace if names <= there and trace["complete"] else None

    trace: dict[str, Any] = wait_until(found, f"trace {trace_id} holds {sorted(names)}")
    return trace


def assert_one_tree(trace: dict[str, Any]) -> None:
    """Every parent is there, and all spans hang below one."""
    known = {span["span_id"] for span in trace["spans"]}
    roots = [span for span in trace["spans"] if span["parent_span_id"] is None]
    assert len(roots) == 1
    assert [span["name"] for span in trace["spans"] if span["parent_span_id"] not in known | {None}] == []


def services_of(trace: dict[str, Any]) -> set[str]:
    return {span["service"] for span in trace["spans"]}


def test_a_document_is_one_trace_through_every_service_with_its_waiting_in_queues(
    platform: RunningPlatform, api: httpx.Client
) -> None:
    trace_id = ingest(api, "traced-lighthouse", "The lighthouse of Traceville is 31 metres high.")
    trace = complete_trace(api, trace_id, INGESTION)
    assert_one_tree(trace)
    assert services_of(trace) == PIPELINE
    consumed = [span for span in trace["spans"] if span["kind"] == "consumer"]
    assert len(consumed) >= 7
    for span in consumed:
        queued_at = datetime.fromisoformat(span["attributes"]["rag.message.queued_at"])
        assert queued_at <= datetime.fromisoformat(span["start"]), span["name"]
        assert span["attributes"]["messaging.system"] == "nats"
        assert "default" not in span["name"]
    shown = rag("trace", trace_id, url=platform.url)
    assert shown.returncode == 0, shown.stderr
    assert set(shown.stdout.split()) >= PIPELINE
    assert "process chunks.embedded" in shown.stdout
    assert "waiting in a queue" in shown.stdout
    as_json = rag("--json", "trace", trace_id, url=platform.url)
    assert json.loads(as_json.stdout)["span_count"] == trace["span_count"]


def test_a_question_is_one_trace_and_is_there_right_after_its_answer(
    platform: RunningPlatform, api: httpx.Client
) -> None:
    ingest(api, "traced-tower", "The tower of Traceville was built in 1911.")
    reply = api.post("/v1/query", json={"question": "When was the tower of Traceville built?"})
    assert reply.json()["answered"]
    # The command itself waits for spans that are still on their way.
    shown = rag("trace", reply.headers["X-Trace-Id"], url=platform.url)
    assert set(shown.stdout.split()) >= QUESTION, shown.stdout + shown.stderr
    trace = complete_trace(api, reply.headers["X-Trace-Id"], {"POST /v1/query", "respond rag.v1.embed.query"})
    assert_one_tree(trace)
    # Persistence takes note of the question when it is answered, and may do so behind this look.
    assert services_of(trace) - {"persistence"} == QUESTION


def test_a_callers_own_trace_is_continued(api: httpx.Client) -> None:
    own = "4bf92f3577b34da6a3ce929d0e0e4736"
    trace_id = ingest(api, "traced-own", "A text.", traceparent=f"00-{own}-00f067aa0ba902b7-01")
    assert trace_id == own
    trace = complete_trace(api, own, INGESTION)
    assert trace["spans"][0]["parent_span_id"] == "00f067aa0ba902b7"


def test_what_failed_is_listed_and_looking_at_traces_makes_none(platform: RunningPlatform, api: httpx.Client) -> None:
    body = {"documents": [{"id": "traced-broken", "content": "AAAA", "media_type": "application/pdf"}]}
    reply = api.post("/v1/documents", params={"wait_s": 60}, json=body)
    assert [found["status"] for found in reply.json()["documents"]] == ["failed"]
    trace_id = reply.headers["X-Trace-Id"]

    def failed() -> bool:
        return trace_id in rag("trace", "--errors", url=platform.url).stdout

    wait_until(failed, "the trace is listed among those that failed")
    names = {item["name"] for item in api.get("/v1/traces", params={"limit": 500}).json()["items"]}
    assert not [name for name in names if "/v1/traces" in name or "/ready" in name or "/live" in name]
