"""One platform under traffic for all tests of telemetry: documents, a search, and an answer with a tool."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from nats.aio.client import Client

from contracts import subjects
from tests.e2e.test_dead_letters import LETTERS, document_is, letter_of
from tests.platform_broker import on_broker, put_object
from tests.platform_process import RunningPlatform, running_platform, wait_until
from tests.redis_server import redis_server
from tests.scripted_llm import Reply, ScriptedLlm, scripted_llm

OWN_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
DEAD_TRACE = "5b8aa5a2d2c872e8321cf37308d69df2"
OWN_SPAN = "00f067aa0ba902b7"
DOCUMENT_TEXT = "The zephyrine harbour of Lindby opened in 1887."
SEARCHED = "harbour opening quokkaword"
ASKED = "When did the harbour open, wallabyword?"
LLM_KEY = "sk-planted-key-of-the-model"
SECRETS = ("zephyrine", "quokkaword", "wallabyword", LLM_KEY)


@dataclass
class Traffic:
    """What the platform was asked: traces and their spans by flow; what every process measured, by service."""

    platform: RunningPlatform
    traces: dict[str, str] = field(default_factory=dict)
    spans: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    metrics: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def ask(api: httpx.Client, llm: ScriptedLlm, traffic: Traffic) -> None:
    """Send a document under a trace of its producer's, a search and a question."""
    headers = {"traceparent": f"00-{OWN_TRACE}-{OWN_SPAN}-01"}
    body = {"documents": [{"id": "harbour", "collection": "towns", "text": DOCUMENT_TEXT}]}
    reply = api.post("/v1/documents", params={"wait_s": 60}, json=body, headers=headers)
    assert [each["status"] for each in reply.json()["documents"]] == ["indexed"], reply.text
    traffic.traces["ingest"] = reply.headers["X-Trace-Id"]
    assert api.get("/v1/documents/harbour", headers=headers).status_code == 200
    reply = api.post("/v1/search", json={"query": SEARCHED})
    assert reply.json()["hits"], reply.text
    traffic.traces["search"] = reply.headers["X-Trace-Id"]
    llm.script.append(Reply(tool_calls=(("search_documents", {"query": "harbour"}),)))
    llm.script.append(Reply(text="The harbour of Lindby opened in 1887 [1]."))
    reply = api.post("/v1/query", json={"question": ASKED, "mode": "agent"})
    assert reply.json()["answered"], reply.text
    traffic.traces["agent"] = reply.headers["X-Trace-Id"]


def die_and_replay(api: httpx.Client, traffic: Traffic) -> None:
    """Have a producer's own message die for the lack of its upload, and send it again when that is there."""
    document = {"id": "kiel", "collection": "letters", "object": "kiel-1", "media_type": "text/plain"}

    async def publish(client: Client) -> None:
        headers = {"traceparent": f"00-{DEAD_TRACE}-{OWN_SPAN}-01"}
        await client.jetstream().publish(subjects.ingest("default"), json.dumps(document).encode(), headers=headers)

    on_broker(traffic.platform, publish)
    letter = letter_of(api, "kiel")
    put_object(traffic.platform, "kiel-1", b"The mast of Kiel is made of larch.")
    replayed = api.post(f"{LETTERS}/{letter['seq']}/replay")
    assert replayed.status_code < 300, replayed.text
    document_is(api, "kiel", "indexed")
    traffic.traces |= {"died": DEAD_TRACE, "replay": replayed.json()["trace_id"]}


@pytest.fixture(scope="package")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traffic]:
    """A platform that has answered, with every span of its traces and the metrics of every process."""
    data = tmp_path_factory.mktemp("platform")
    with scripted_llm() as llm, redis_server() as redis:
        settings = {
            "RAG_LLM_BASE_URL": llm.url,
            "RAG_LLM_MODEL": "scripted",
            "RAG_LLM_API_KEY": LLM_KEY,
            "RAG_REDIS_URL": redis.url,
        }
        with running_platform(data, **settings) as platform, httpx.Client(base_url=platform.url, timeout=90) as api:
            found = Traffic(platform)
            ask(api, llm, found)
            die_and_replay(api, found)
            for flow, trace_id in found.traces.items():
                found.spans[flow] = whole_trace(api, trace_id)
            for text in map(_metrics, platform.ready["health"].values()):
                found.metrics[_service(text)].append(text)
            yield found


def whole_trace(api: httpx.Client, trace_id: str) -> list[dict[str, Any]]:
    """Return the spans of a trace once none comes any more."""

    def complete() -> list[dict[str, Any]] | None:
        trace = api.get(f"/v1/traces/{trace_id}").json()
        return trace["spans"] if trace.get("complete") and trace["spans"] else None

    spans: list[dict[str, Any]] = wait_until(complete, f"trace {trace_id} is complete", 60)
    return spans


def _metrics(url: str) -> str:
    reply = httpx.get(f"{url}/metrics", timeout=30)
    assert reply.status_code == 200
    return reply.text


def _service(text: str) -> str:
    found = re.search(r'^target_info{.*service_name="(\w+)"', text, re.MULTILINE)
    assert found, "a process does not say which service it is"
    return found.group(1)
