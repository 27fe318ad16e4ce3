"""The life of a process: how it ends, what it gives back, and when it notices that it does nothing any more."""

import asyncio
import contextlib
import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
from nats.aio.client import Client

from contracts import subjects
from contracts.codec import encode
from contracts.reads import CollectionsQuery
from shared.messaging.provisioning import provision
from shared.settings import PROJECT_ROOT
from shared.watchdog import EXIT_LOOP_FROZEN
from tests.integration.behaving_service import SUBJECT
from tests.running import client_of, eventually
from tests.servers import NatsServer, child_environment, free_port

COMMAND = [sys.executable, "-m", "tests.integration.behaving_service"]
PATIENCE_SECONDS = 20.0


class Process:
    """A running service; `said` collects what its handlers print, `log` its events by name."""

    def __init__(self, popen: subprocess.Popen[str], port: int) -> None:
        self.popen, self.port = popen, port
        self.lines: queue.Queue[dict[str, Any]] = queue.Queue()
        self.seen: list[dict[str, Any]] = []
        self.errors = ""
        self._readers = [threading.Thread(target=self._read_out), threading.Thread(target=self._read_errors)]
        for reader in self._readers:
            reader.start()

    def _read_out(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            with contextlib.suppress(ValueError):
                self.lines.put(json.loads(line))

    def _read_errors(self) -> None:
        assert self.popen.stderr is not None
        for line in self.popen.stderr:
            self.errors += line
            with contextlib.suppress(ValueError):
                self.lines.put(json.loads(line))

    def all(self) -> list[dict[str, Any]]:
        """Return everything that was printed or logged so far."""
        while not self.lines.empty():
            self.seen.append(self.lines.get())
        return self.seen

    def events(self) -> list[str]:
        """Return the names of what was logged, in order."""
        return [str(line["event"]) for line in self.all() if "event" in line]

    def has(self, key: str, **fields: Any) -> dict[str, Any] | None:
        """Return the first line with a key whose value has these fields."""
        for line in self.all():
            value = line.get(key)
            if value is not None and (not fields or fields.items() <= dict(value).items()):
                return line
        return None

    async def state(self, path: str) -> tuple[int, dict[str, Any]]:
        """Return status code and body of a health route; 0 when nobody answers."""
        async with httpx.AsyncClient(timeout=5) as http:
            try:
                response = await http.get(f"http://127.0.0.1:{self.port}{path}")
            except httpx.TransportError:
                return 0, {}
        body: dict[str, Any] = response.json()
        return response.status_code, body

    async def becomes(self, path: str, code: int, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        async def body() -> list[dict[str, Any]]:
            status, found = await self.state(path)
            return [found] if status == code else []

        (found,) = await eventually(body, f"{path} answers {code}", seconds)
        state: dict[str, Any] = found
        return state

    async def ended(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Return the exit code once the process has ended and everything it said is read."""
        code = await asyncio.to_thread(self.popen.wait, seconds)
        for reader in self._readers:
            await asyncio.to_thread(reader.join, seconds)
        return code


@contextmanager
def service(url: str, **settings: str) -> Iterator[Process]:
    port = free_port()
    environment = child_environment(
        **{"RAG_NATS_URL": url, "RAG_PORT": str(port), "RAG_DRAIN_SECONDS": "8", "PYTHONUNBUFFERED": "1", **settings}
    )
    popen = subprocess.Popen(
        COMMAND, cwd=PROJECT_ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process = Process(popen, port)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            popen.send_signal(signal.SIGCONT)
        popen.kill()
        popen.wait()
        for reader in process._readers:
            reader.join()
        for stream in (popen.stdout, popen.stderr):
            assert stream is not None
            stream.close()


@asynccontextmanager
async def ready(server: NatsServer, **settings: str) -> AsyncIterator[tuple[Process, Client]]:
    with service(server.url, **settings) as process:
        async with client_of(server.url) as client:
            await process.becomes("/ready", 200)
            yield process, client


async def order(client: Client, number: int, do: str, **fields: Any) -> None:
    headers = {subjects.HEADER_TENANT: "acme", subjects.HEADER_MESSAGE_ID: f"order-{number}"}
    payload = json.dumps({"do": do, "number": number, **fields}).encode()
    await client.jetstream().publish(subjects.QUERIES_ASK, payload, headers=headers)


async def left(client: Client) -> int:
    return (await client.jetstream().stream_info("QUERIES")).state.messages


async def test_sigterm_finishes_what_runs_and_gives_the_rest_back_at_once(nats_broker: NatsServer) -> None:
    """INVARIANT: accepted is durable: a process that is asked to end leaves no message to the ack wait."""
    async with ready(nats_broker) as (process, client):
        for number in range(6):
            await order(client, number, "work", seconds=1.5)
        await eventually(lambda: process.has("began", number=1), "two are in work")
        request = asyncio.create_task(client.request(SUBJECT, encode(CollectionsQuery(tenant="acme")), timeout=5))
        await eventually(lambda: process.has("asked"), "a request is in work")
        asked_at = time.monotonic()
        process.popen.terminate()
        assert (await request).data
        with service(nats_broker.url) as other:
            assert await process.ended() == 0
            took = time.monotonic() - asked_at
            await eventually(lambda: _all_done(client), "another process does the rest")
            started = {line["began"]["number"] for line in other.all() if "began" in line}
    assert took < 8
    finished = {line["ended"]["number"] for line in process.all() if "ended" in line}
    assert finished | started == set(range(6))
    assert finished.isdisjoint(started)
    assert process.events()[-3:] == ["service_stopping", "service_drained", "service_closed"]
    drained = next(line for line in process.all() if line.get("event") == "service_drained")
    assert (drained["cut_off"], drained["unanswered"]) == (0, 0)
    assert drained["given_back"] >= 1


async def _all_done(client: Client) -> bool:
    return await left(client) == 0


async def test_what_does_not_end_in_time_is_cut_off_given_back_and_named(nats_broker: NatsServer) -> None:
    async with ready(nats_broker, RAG_DRAIN_SECONDS="1") as (process, client):
        await order(client, 1, "hold")
        await eventually(lambda: process.has("began", number=1), "it is in work")
        asked_at = time.monotonic()
        process.popen.terminate()
        assert await process.ended() == 0
        assert time.monotonic() - asked_at < 1 + 5
        with service(nats_broker.url) as other:
            began = await eventually(lambda: other.has("began", number=1), "another process has it at once")
            assert began is not None
            assert began["deliveries"] == 2
    (abandoned,) = [line for line in process.all() if line.get("event") == "message_abandoned"]
    assert (abandoned["consumer"], abandoned["sequence"], abandoned["deliveries"]) == ("agent", 1, 1)
    assert next(line for line in process.all() if line.get("event") == "service_drained")["cut_off"] == 1


async def test_sigterm_before_the_broker_is_found_ends_at_once() -> None:
    with service("nats://127.0.0.1:1") as process:
        await asyncio.to_thread(_until_running, process)
        asked_at = time.monotonic()
        process.popen.terminate()
        assert await process.ended() == 0
        assert time.monotonic() - asked_at < 5


def _until_running(process: Process) -> None:
    """Wait until the interpreter handles signals: before that it has none of our code."""
    status = f"/proc/{process.popen.pid}/status"
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        with open(status, encoding="ascii") as lines:
            caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))
        if caught >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.02)
    raise AssertionError("it never handles SIGTERM")


async def test_sigterm_while_the_broker_is_away_ends_within_the_bound(nats_broker: NatsServer) -> None:
    async with ready(nats_broker, RAG_DRAIN_SECONDS="2") as (process, client):
        await order(client, 1, "work", seconds=0.2)
        await eventually(lambda: process.has("ended", number=1), "it works")
        nats_broker.kill()
        body = await process.becomes("/ready", 503)
        assert (await process.state("/live"))[0] == 200, body
        asked_at = time.monotonic()
        process.popen.terminate()
        assert await process.ended(30) == 0
        assert time.monotonic() - asked_at < 2 + 2 * 5 + 3


async def test_a_durable_that_is_deleted_is_noticed_and_served_again_once_it_is_back(nats_broker: NatsServer) -> None:
    """INVARIANT: ready means consuming: the socket stands all the time."""
    async with ready(nats_broker, RAG_STALE_AFTER_SECONDS="3") as (process, client):
        jetstream = client.jetstream()
        await jetstream.delete_consumer("QUERIES", "agent")
        body = await process.becomes("/ready", 503)
        assert "rag provision" in body["waiting_for"]
        assert "agent" in body["waiting_for"]
        assert list((await process.becomes("/live", 503))["stale_consumers"]) == ["agent"]
        await provision(jetstream, replicas=1)
        await order(client, 1, "work")
        await eventually(lambda: process.has("ended", number=1), "it works again, without a restart")
        await process.becomes("/live", 200)
        await process.becomes("/ready", 200)


async def test_a_process_whose_own_pull_is_dead_is_not_live_beside_a_replica_that_works(
    nats_broker: NatsServer,
) -> None:
    """INVARIANT: ready means consuming: that another replica is served says nothing of this one."""
    async with ready(nats_broker, RAG_STALE_AFTER_SECONDS="8") as (process, client):
        await order(client, 1, "deafen")
        await eventually(lambda: process.has("ended", number=1), "its pull is broken")
        with service(nats_broker.url, RAG_STALE_AFTER_SECONDS="8") as other:
            await other.becomes("/ready", 200)
            await process.becomes("/live", 503, 30)
            await order(client, 2, "work")
            await eventually(lambda: other.has("ended", number=2), "the other one works")
            assert (await other.state("/live"))[0] == 200


async def test_a_frozen_loop_ends_the_process_and_says_where(nats_broker: NatsServer) -> None:
    async with ready(nats_broker, RAG_LOOP_FROZEN_SECONDS="2") as (process, client):
        await order(client, 1, "freeze", seconds=60)
        assert await process.ended(30) == EXIT_LOOP_FROZEN
    assert "event loop frozen" in process.errors
    assert "behaving_service.py" in process.errors
    assert "in _obey" in process.errors


async def test_a_process_that_was_stopped_and_goes_on_is_not_taken_for_frozen(nats_broker: NatsServer) -> None:
    async with ready(nats_broker, RAG_LOOP_FROZEN_SECONDS="2") as (process, client):
        process.popen.send_signal(signal.SIGSTOP)
        await asyncio.sleep(4)  # The time itself is what is tested.
        process.popen.send_signal(signal.SIGCONT)
        await order(client, 1, "work")
        await eventually(lambda: process.has("ended", number=1), "it works on")
        assert process.popen.poll() is None


async def test_a_broker_that_comes_back_is_asked_again_at_once(nats_broker: NatsServer) -> None:
    async with ready(nats_broker) as (process, _):
        nats_broker.kill()
        await process.becomes("/ready", 503)
        nats_broker.start()
        async with client_of(nats_broker.url) as client:
            await provision(client.jetstream(), replicas=1)
            await process.becomes("/ready", 200)
            asked_at = time.monotonic()
            await order(client, 1, "work")
            await eventually(lambda: process.has("ended", number=1), "it works again")
            assert time.monotonic() - asked_at < 5
