"""The gateway as a process of its own, spoken to over real connections."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import nats
import psutil
import pytest

from contracts import subjects
from contracts.codec import encode
from contracts.facts import DocumentIndexed
from shared.messaging.provisioning import provision
from shared.settings import MIB, PROJECT_ROOT
from tests.integration.gateway_stand import running_parts
from tests.running import eventually
from tests.servers import NatsServer, child_environment, free_port

COMMAND = [sys.executable, "-m", "services.gateway.app"]
REQUEST_BYTES = 200 * MIB
BOUND_BYTES = 60 * MIB


@dataclass
class Process:
    """A gateway process, ready."""

    port: int
    pid: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def memory_bytes(self) -> int:
        rss: int = psutil.Process(self.pid).memory_info().rss
        return rss


@contextmanager
def started(**environment: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(COMMAND, cwd=PROJECT_ROOT, env=child_environment(**environment), stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=20)


@pytest.fixture
async def gateway(nats_broker: NatsServer) -> AsyncIterator[Process]:
    port = free_port()
    with started(RAG_NATS_URL=nats_broker.url, RAG_PORT=str(port)) as process:
        running = Process(port, process.pid)
        async with httpx.AsyncClient(base_url=running.url) as http:
            await eventually(lambda: _is_ready(http), "the gateway is ready")
        yield running


@dataclass
class Refusal:
    """What came back, and how much memory the gateway took meanwhile."""

    head: str
    problem: dict[str, object]
    grown_bytes: int


async def upload(gateway: Process, headers: str, *, chunked: bool, start: bytes = b"") -> Refusal:
    """Send 200 MB as a simple client does: all of it before it looks at the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    before = most = gateway.memory_bytes
    writer.write(f"POST /v1/documents HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n".encode())
    for piece in (start, *[b"x" * MIB] * (REQUEST_BYTES // MIB)):
        writer.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
        await writer.drain()
        most = max(most, gateway.memory_bytes)
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
    problem: dict[str, object] = json.loads(await reader.readexactly(length))
    writer.close()
    await writer.wait_closed()
    return Refusal(head, problem, most - before)


async def test_a_200_mb_upload_is_refused_politely_and_without_holding_it(gateway: Process) -> None:
    headers = f"Content-Type: application/json\r\nContent-Length: {REQUEST_BYTES}"
    refusal = await upload(gateway, headers, chunked=False)
    assert refusal.head.startswith("HTTP/1.1 413 ")
    assert "connection: close" in refusal.head.lower()
    assert refusal.problem["code"] == "too_large"
    assert refusal.grown_bytes < BOUND_BYTES


async def test_an_upload_of_unknown_length_is_refused_at_the_limit_and_was_never_held(gateway: Process) -> None:
    headers = "Content-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked"
    start = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
    refusal = await upload(gateway, headers, chunked=True, start=start)
    assert refusal.head.startswith("HTTP/1.1 413 ")
    assert refusal.problem["code"] == "too_large"
    assert refusal.grown_bytes < BOUND_BYTES


async def test_a_caller_that_asks_first_sends_nothing(gateway: Process) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    expects = f"Expect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: {REQUEST_BYTES}"
    writer.write(f"POST /v1/documents HTTP/1.1\r\nHost: x\r\n{expects}\r\n\r\n".encode())
    async with asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    assert head.startswith(b"HTTP/1.1 413 ")


async def test_after_a_refusal_the_gateway_serves_on(gateway: Process) -> None:
    async with httpx.AsyncClient(base_url=gateway.url) as http:
        refused = await http.post("/v1/search", content=b"x" * (2 * MIB), headers={"Content-Type": "application/json"})
        assert refused.status_code == 413
        accepted = await http.post("/v1/documents", json={"documents": [{"id": "a", "text": "Water boils."}]})
        assert accepted.status_code == 202
        assert "server" not in accepted.headers


async def test_events_arrive_while_the_stream_is_open(gateway: Process, nats_broker: NatsServer) -> None:
    fact = DocumentIndexed(tenant="default", document_id="a", revision=1, collection="default", chunks=1)
    async with running_parts(nats_broker) as (client, *_), httpx.AsyncClient(base_url=gateway.url) as http:
        await http.post("/v1/documents", json={"documents": [{"id": "a", "text": "Water boils."}]})
        async with asyncio.timeout(10), http.stream("GET", "/v1/documents/a/events") as response:
            lines = response.aiter_lines()
            first = [await anext(lines) for _ in range(2)]
            await client.jetstream().publish(subjects.DOCUMENT_INDEXED, encode(fact))
            rest = [line async for line in lines]
    assert first == ["id: 1", "event: accepted"]
    assert "event: indexed" in rest


async def test_whoever_waits_is_let_go_at_once_when_the_gateway_ends(nats_broker: NatsServer) -> None:
    """An open stream, a held upload: both end in order, so that their callers go on at another replica."""
    port = free_port()
    with started(RAG_NATS_URL=nats_broker.url, RAG_PORT=str(port), RAG_DRAIN_SECONDS="60") as process:
        async with running_parts(nats_broker), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            await eventually(lambda: _is_ready(http), "the gateway is ready")
            body = {"documents": [{"id": "b", "text": "Water boils."}]}
            await http.post("/v1/documents", json={"documents": [{"id": "a", "text": "Water boils."}]})
            held = asyncio.create_task(http.post("/v1/documents?wait_s=50", json=body, timeout=60))
            async with asyncio.timeout(20), http.stream("GET", "/v1/documents/a/events") as response:
                lines = response.aiter_lines()
                assert [await anext(lines) for _ in range(2)] == ["id: 1", "event: accepted"]
                await eventually(lambda: _is_known(http, "b"), "the held upload is published, and waits")
                process.terminate()
                rest = [line async for line in lines]
                answer = await held
            assert await asyncio.to_thread(process.wait, 10) == 0
    assert not [line for line in rest if line.startswith("event: ")]
    assert answer.status_code == 202
    (receipt,) = answer.json()["documents"]
    assert (receipt["id"], receipt["status"]) == ("b", "accepted")


async def test_a_gateway_that_starts_without_a_broker_answers_and_says_what_it_waits_for(
    nats_broker: NatsServer,
) -> None:
    """INVARIANT: dependencies may go away: who calls meanwhile is told so, not refused a connection."""
    nats_broker.kill()
    port = free_port()
    with started(RAG_NATS_URL=nats_broker.url, RAG_PORT=str(port)) as process:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:

            async def live() -> bool:
                try:
                    return (await http.get("/live")).status_code == 200
                except httpx.TransportError:
                    return False

            await eventually(live, "it answers")
            ready = await http.get("/ready")
            assert (ready.status_code, ready.json()["waiting_for"]) == (503, f"the broker at {nats_broker.url}")
            refused = await http.post("/v1/documents", json={"documents": [{"id": "a", "text": "Water boils."}]})
            assert (refused.status_code, refused.json()["code"]) == (503, "dependency_unavailable")
            assert int(refused.headers["retry-after"]) >= 1
            assert refused.headers["x-trace-id"]
            nats_broker.start()
            client = await nats.connect(nats_broker.url)
            await provision(client.jetstream(), replicas=1)
            await client.close()
            await eventually(lambda: _is_ready(http), "the gateway is ready")
            accepted = await http.post("/v1/documents", json={"documents": [{"id": "a", "text": "Water boils."}]})
            assert accepted.status_code == 202
            assert process.poll() is None


def test_a_start_that_fails_ends_with_its_code_and_words() -> None:
    environment = child_environment(RAG_NATS_URL="nats://127.0.0.1:1", RAG_NATS_CONNECT_SECONDS="1")
    ended = subprocess.run(COMMAND, cwd=PROJECT_ROOT, env=environment, capture_output=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert b"no broker at nats://127.0.0.1:1 within 1 s" in ended.stderr
    assert b"Traceback" not in ended.stderr


async def _is_ready(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/ready")).status_code == 200
    except httpx.TransportError:
        return False


async def _is_known(http: httpx.AsyncClient, document_id: str) -> bool:
    return (await http.get(f"/v1/documents/{document_id}")).status_code == 200


def test_without_authentication_no_other_interface_is_served() -> None:
    environment = child_environment(RAG_HOST="0.0.0.0")
    ended = subprocess.run(COMMAND, cwd=PROJECT_ROOT, env=environment, capture_output=True, timeout=30, check=False)
    lines = ended.stderr.decode().strip().splitlines()
    assert (ended.returncode, len(lines)) == (2, 1)
    assert "RAG_AUTH" in lines[0]
    assert "0.0.0.0" in lines[0]
