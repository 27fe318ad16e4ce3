"""A platform that knows its callers: every command of `docs/authentication.md`, and the clients of others."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import httpx2
import openai
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.integration.mcp_stand import text_of
from tests.platform_process import PROJECT, RunningPlatform, rag, running_platform

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

PAGE = (PROJECT / "docs" / "authentication.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("rag ")
]
FIRST = "rag keys create --data .rag-keys --scopes ingest,query,admin"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("guarded") / "data"


@pytest.fixture(scope="module")
def first_key(data: Path) -> str:
    """Make the first key as the page says, before anything runs."""
    words = FIRST.replace(".rag-keys", str(data)).split()[1:]
    made = rag(*words, "--json")
    assert made.returncode == 0, made.stderr
    key: str = json.loads(made.stdout)["key"]
    return key


@pytest.fixture(scope="module")
def guarded(data: Path, first_key: str) -> Iterator[RunningPlatform]:
    assert first_key
    with running_platform(data, RAG_AUTH="keys") as running:
        yield running


def run(command: str, platform: RunningPlatform, key: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "RAG_URL": platform.url, "RAG_API_KEY": key, "NO_COLOR": "1", "COLUMNS": "150"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", command], cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_page_s_commands_do_what_it_says(guarded: RunningPlatform, first_key: str) -> None:
    assert COMMANDS[0] == FIRST
    made, listed, revoked = COMMANDS[1:]
    new = run(f"{made} --json", guarded, first_key)
    key = json.loads(new.stdout)
    assert (key["tenant"], key["scopes"], key["name"]) == ("default", ["query"], "search page")
    assert key["prefix"] in run(listed, guarded, first_key).stdout
    gone = run(revoked.replace("956cok4qkv53", key["id"]), guarded, first_key)
    assert gone.returncode == 0, gone.stderr
    assert run("rag documents", guarded, key["key"]).returncode == 1


def test_a_key_made_while_the_platform_runs_opens_its_own_tenant(guarded: RunningPlatform, first_key: str) -> None:
    other = rag("keys", "create", "--data", str(guarded.data), "--tenant", "acme", "--json")
    key = json.loads(other.stdout)["key"]
    text = PROJECT / "tests" / "e2e" / "conftest.py"
    loaded = run(f"rag ingest {text} --collection coast", guarded, key)
    assert loaded.returncode == 0, loaded.stderr
    assert "coast" in run("rag documents", guarded, key).stdout
    assert "coast" not in run("rag documents", guarded, first_key).stdout
    found = json.loads(run('rag search "platform" --json', guarded, key).stdout)["hits"]
    assert found
    assert json.loads(run('rag search "platform" --json', guarded, first_key).stdout)["hits"] == []


def test_without_a_key_nothing_is_told(guarded: RunningPlatform) -> None:
    refused = httpx.get(f"{guarded.url}/v1/documents", headers={"Rag-Tenant": "default"})
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")
    done = rag("documents", url=guarded.url)
    assert done.returncode == 1
    assert "Authorization: Bearer" in done.stderr


def test_the_openai_client_passes_its_key_on(guarded: RunningPlatform, first_key: str) -> None:
    with openai.OpenAI(base_url=f"{guarded.url}/v1", api_key=first_key) as client:
        assert "rag" in {model.id for model in client.models.list()}
    with (
        openai.OpenAI(base_url=f"{guarded.url}/v1", api_key="sk-wrong") as client,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        client.models.list()
    assert caught.value.code == "invalid_api_key"


async def test_the_mcp_client_passes_its_key_on_and_a_tool_needs_its_scope(
    guarded: RunningPlatform, first_key: str
) -> None:
    reading = json.loads(run("rag keys create --scopes query --json", guarded, first_key).stdout)["key"]
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {reading}"}, timeout=30) as http,
        Client(streamable_http_client(f"{guarded.url}/mcp", http_client=http)) as client,
    ):
        found = await client.call_tool("search", {"query": "x"})
        refused = await client.call_tool("ingest_text", {"text": "Water boils."})
    assert not found.is_error, text_of(found)
    assert refused.is_error
    assert "ingest" in text_of(refused)


def test_the_audit_and_the_metrics_tell_of_it_and_no_log_holds_a_key(guarded: RunningPlatform, first_key: str) -> None:
    reply = httpx.get(f"{guarded.url}/v1/admin/audit", headers={"Authorization": f"Bearer {first_key}"})
    assert {"key_created", "key_used", "auth_failed"} <= {entry["action"] for entry in reply.json()["items"]}
    assert "rag_auth_failures_total{" in httpx.get(f"{guarded.url}/metrics").text
    secret = first_key.split("_", 2)[2]
    assert not any(secret in path.read_text() for path in (guarded.data / "logs").iterdir())
    assert secret not in "".join(guarded.log)
