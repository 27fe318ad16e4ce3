"""`rag ask --agent` against the whole platform, with a scripted language model and a tool from the documentation."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.test_documents_to_answers import upsert
from tests.platform_process import PROJECT, RunningPlatform, rag, running_platform, wait_until
from tests.scripted_llm import Reply, scripted_llm

Calls = tuple[tuple[str, dict[str, Any]], ...]
FIRST = "The lighthouse of Lindby was built by Greta Holm."
SECOND = "The harbour of Lindby opened in 1887."


@contextmanager
def temperature_tool(platform: RunningPlatform) -> Iterator[None]:
    made = rag("provision", "--tool", "temperature", "--data", str(platform.data), "--json")
    user = json.loads(made.stdout)
    address = platform.nats_url.replace("nats://", f"nats://{user['user']}:{user['password']}@")
    process = subprocess.Popen([sys.executable, "docs/examples/temperature_tool.py", address], cwd=PROJECT)
    try:
        yield
    finally:
        process.kill()
        process.wait(timeout=10)


@pytest.mark.extended
@pytest.mark.timeout(180)
def test_an_agent_lists_searches_reads_and_calls_a_tool_of_the_broker(tmp_path: Path) -> None:
    with scripted_llm() as endpoint:
        settings = {"RAG_LLM_BASE_URL": endpoint.url, "RAG_AGENT_TOOLS": "temperature"}
        with running_platform(tmp_path, **settings) as platform, httpx.Client(base_url=platform.url, timeout=90) as api:
            document = {"id": "town", "collection": "places", "title": "Lindby", "text": f"{FIRST} {SECOND}"}
            upsert(api, document, {"id": "soup", "collection": "cooking", "text": "Onion soup needs an hour."})
            with temperature_tool(platform):

                def offered() -> bool:
                    endpoint.default = lambda _request: Reply(text="NO_ANSWER")
                    endpoint.requests.clear()
                    rag("ask", "--agent", "Which tools are there?", url=platform.url)
                    return "temperature" in str(endpoint.requests[0].get("tools"))

                wait_until(offered, "the tool was found", 90)
                first: Calls = (
                    ("list_documents", {}),
                    ("search_documents", {"query": "When did the harbour of Lindby open?"}),
                )
                second: Calls = (("read_document", {"document_id": "town"}), ("temperature", {"city": "Lindby"}))
                foreign: Calls = (("read_document", {"document_id": "soup"}),)
                endpoint.requests.clear()
                endpoint.script.extend(Reply(tool_calls=calls) for calls in (first, second, foreign))
                endpoint.script.append(Reply(text="The harbour of Lindby opened in 1887 [1]; it has 21.5 degrees."))
                question = (
                    "ask",
                    "--agent",
                    "--collection",
                    "places",
                    "When did the harbour open, and how warm is it?",
                )
                told = rag(*question, "--json", url=platform.url)
    assert told.returncode == 0, told.stderr
    answer = json.loads(told.stdout)
    assert answer["answered"] is True
    assert [(one["document_id"], one["quote"]) for one in answer["citations"]] == [("town", SECOND)]
    tools = [step for step in answer["steps"] if step["kind"] == "tool"]
    assert [(step["tool"], step["failed"]) for step in tools] == [
        ("list_documents", False),
        ("search_documents", False),
        ("read_document", False),
        ("temperature", False),
        ("read_document", True),
    ]
    results = [m["content"] for m in endpoint.requests[-1]["messages"] if m["role"] == "tool"]
    assert "town | Lindby | collection places | indexed" in results[0]
    assert "soup" not in results[0]
    assert FIRST in results[2]
    assert '"celsius": 21.5' in results[3]
    assert "Onion" not in results[4]


def test_without_a_language_model_it_says_which_setting_is_missing(platform: RunningPlatform) -> None:
    told = rag("ask", "--agent", "When did the harbour open?", url=platform.url)
    assert told.returncode == 1
    assert "RAG_LLM_BASE_URL" in told.stderr
    assert "not_available" in told.stderr
