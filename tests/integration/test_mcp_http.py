"""`/mcp` as HTTP: its addresses, what it refuses, its traces and its bounds."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from shared.settings import PROJECT_ROOT
from tests.integration.mcp_stand import McpStand, running_mcp
from tests.servers import NatsServer, child_environment

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
HEADERS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}


@pytest.fixture
async def stand(nats_broker: NatsServer) -> AsyncIterator[McpStand]:
    async with running_mcp(nats_broker, gateway_mcp_hosts="localhost,rag.example.org") as running:
        yield running


@pytest.fixture
async def http(stand: McpStand) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=stand.url, headers=HEADERS) as client:
        yield client


def call(tool: str, **arguments: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}


async def pieces(piece: bytes, number: int) -> AsyncIterator[bytes]:
    for _ in range(number):
        yield piece


def result_in(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    [data] = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    found: dict[str, Any] = json.loads(data)["result"]
    return found


def problem_in(response: httpx.Response) -> dict[str, Any]:
    refusal = response.json()
    assert (refusal["jsonrpc"], refusal["id"]) == ("2.0", None)
    assert response.headers["Content-Type"] == "application/json"
    problem: dict[str, Any] = refusal["error"]["data"]
    assert refusal["error"]["message"] == f"{problem['code']}: {problem['detail']}"
    assert problem["trace_id"] == response.headers["X-Trace-Id"]
    return problem


async def test_one_request_without_any_handshake_is_answered(http: httpx.AsyncClient) -> None:
    for path in ("/mcp", "/mcp/"):
        response = await http.post(path, json=call("search", query="x"))
        assert result_in(response)["isError"] is False
        assert len(response.headers["X-Trace-Id"]) == 32


async def test_a_caller_s_trace_goes_on_to_the_services(stand: McpStand, http: httpx.AsyncClient) -> None:
    response = await http.post(
        "/mcp", json=call("search", query="x"), headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    )
    assert response.headers["X-Trace-Id"] == TRACE
    assert result_in(response)["structuredContent"]["trace_id"] == TRACE


async def test_there_is_no_session_to_listen_to_or_to_end(http: httpx.AsyncClient) -> None:
    for method in ("GET", "DELETE"):
        response = await http.request(method, "/mcp")
        assert (response.status_code, response.headers["Allow"]) == (405, "POST")
        assert problem_in(response)["code"] == "method_not_allowed"


FOREIGN: list[tuple[dict[str, str], int, str]] = [
    ({"Host": "evil.example.org"}, 421, "host_not_allowed"),
    ({"Host": "evil.example.org:8000"}, 421, "host_not_allowed"),
    ({"Host": "localhost.evil.example.org"}, 421, "host_not_allowed"),
    ({"Origin": "https://evil.example.org"}, 403, "origin_not_allowed"),
    ({"Origin": "http://localhost.evil.example.org"}, 403, "origin_not_allowed"),
    ({"Origin": "null"}, 403, "origin_not_allowed"),
    ({"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
]
OWN: list[dict[str, str]] = [
    {"Host": "localhost:1234"},
    {"Host": "rag.example.org"},
    {"Origin": "http://localhost:3000"},
    {"Origin": "https://rag.example.org"},
]


async def test_a_web_page_cannot_reach_the_tools(stand: McpStand, http: httpx.AsyncClient) -> None:
    for headers, status, code in FOREIGN:
        response = await http.post("/mcp", content=json.dumps(call("search", query="x")), headers=headers)
        assert (response.status_code, problem_in(response)["code"]) == (status, code), headers
    assert stand.retriever.requests == []


async def test_the_hosts_of_the_settings_are_served(http: httpx.AsyncClient) -> None:
    for headers in OWN:
        response = await http.post("/mcp", json=call("search", query="x"), headers=headers)
        assert result_in(response)["isError"] is False, headers


async def test_a_message_may_be_larger_than_other_requests_but_not_without_bound(nats_broker: NatsServer) -> None:
    bounds = {"gateway_max_body_bytes": 2_000, "gateway_mcp_max_body_bytes": 8_000}
    async with running_mcp(nats_broker, **bounds) as stand, httpx.AsyncClient(headers=HEADERS) as http:
        taken = await http.post(f"{stand.url}/mcp", json=call("ingest_text", text="x" * 5_000, wait_s=0))
        refused = await http.post(f"{stand.url}/mcp/", json=call("ingest_text", text="x" * 9_000, wait_s=0))
        of_unknown_length = await http.post(f"{stand.url}/mcp", content=pieces(b"x" * 1_000, 9))
    assert result_in(taken)["isError"] is False
    for response in (refused, of_unknown_length):
        assert (response.status_code, problem_in(response)["code"]) == (413, "too_large")


async def test_a_client_can_say_why_it_was_refused(nats_broker: NatsServer) -> None:
    async with running_mcp(nats_broker, gateway_mcp_max_body_bytes=8_000) as stand:
        for mode in ("auto", "legacy"):
            async with Client(f"{stand.url}/mcp", mode=mode) as client:
                with pytest.raises(MCPError, match="too_large: the body is larger than the limit of 8000 bytes"):
                    await client.call_tool("ingest_text", {"text": "x" * 9_000})


async def test_what_is_no_message_is_refused(http: httpx.AsyncClient) -> None:
    for body in (b"", b"{", b"[]"):
        assert (await http.post("/mcp", content=body)).status_code == 400
    incomplete = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}'
    assert '"code":-32602' in (await http.post("/mcp", content=incomplete)).text


async def test_openapi_leaves_the_protocol_to_describe_itself(http: httpx.AsyncClient) -> None:
    assert not [path for path in (await http.get("/openapi.json")).json()["paths"] if "mcp" in path]


def test_a_gateway_that_nobody_calls_by_the_protocol_does_not_load_its_library() -> None:
    """It takes 25 MB and a good part of the time to start."""
    script = "import sys, services.gateway.app; sys.exit('mcp' in sys.modules or 'mcp_types' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT_ROOT, env=child_environment(), check=False)
    assert done.returncode == 0
