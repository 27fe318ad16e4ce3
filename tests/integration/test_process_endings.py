"""The end of a process that does not go as it should: signals again, handlers and threads that never end."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nats
import pytest

from shared.messaging.provisioning import provision
from shared.service import EXIT_CONNECTION_LOST
from shared.settings import EXIT_MISCONFIGURED
from tests.integration.test_process_lifecycle import order, ready, service
from tests.running import eventually
from tests.servers import NatsServer, child_environment, nats_server_binary, wait_for_port

SOON_SECONDS = 8.0
USER = "rag"


def logged(process: Any, event: str) -> list[dict[str, Any]]:
    return [line for line in process.all() if line.get("event") == event]


@pytest.mark.parametrize("again", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_cuts_off_what_runs_and_gives_it_back(nats_broker: NatsServer, again: int) -> None:
    async with ready(nats_broker, RAG_DRAIN_SECONDS="60") as (process, client):
        await order(client, 1, "hold")
        await eventually(lambda: process.has("began", number=1), "it is in work")
        process.popen.terminate()
        await eventually(lambda: logged(process, "service_stopping"), "it is ending")
        asked_at = time.monotonic()
        process.popen.send_signal(again)
        assert await process.ended() == 0
        assert time.monotonic() - asked_at < SOON_SECONDS
        with service(nats_broker.url) as other:
            await eventually(lambda: other.has("began", number=1), "another process has it at once")
    assert [line["sequence"] for line in logged(process, "message_abandoned")] == [1]


async def test_a_handler_that_does_not_notice_that_it_was_cut_off_keeps_neither_message_nor_process(
    nats_broker: NatsServer,
) -> None:
    async with ready(nats_broker, RAG_DRAIN_SECONDS="1") as (process, client):
        await order(client, 1, "ignore")
        await eventually(lambda: process.has("began", number=1), "it is in work")
        asked_at = time.monotonic()
        process.popen.terminate()
        with service(nats_broker.url) as other:
            await eventually(lambda: other.has("began", number=1), "another process has it at once")
        assert await process.ended() == 0
        assert time.monotonic() - asked_at < SOON_SECONDS + 2  # The other process started meanwhile.
    assert [(line["consumer"], line["sequence"]) for line in logged(process, "message_abandoned")] == [("agent", 1)]
    assert logged(process, "service_closed"), "the connection was closed and telemetry flushed all the same"


async def test_a_thread_that_goes_on_does_not_keep_the_process(nats_broker: NatsServer) -> None:
    async with ready(nats_broker, RAG_DRAIN_SECONDS="1") as (process, client):
        await order(client, 1, "thread", seconds=60)
        await eventually(lambda: process.has("began", number=1), "it is in work")
        asked_at = time.monotonic()
        process.popen.terminate()
        assert await process.ended() == 0
        assert time.monotonic() - asked_at < SOON_SECONDS
    assert [line["sequence"] for line in logged(process, "message_abandoned")] == [1]
    assert logged(process, "service_closed")


async def test_it_says_what_it_does_in_order(nats_broker: NatsServer) -> None:
    """INVARIANT: ready means consuming: who is asked to end says so before it stops, and fetches nothing after that."""
    async with ready(nats_broker, RAG_DRAIN_SECONDS="20") as (process, client):
        await order(client, 1, "work", seconds=3)
        await eventually(lambda: process.has("began", number=1), "it is in work")
        process.popen.terminate()
        body = await process.becomes("/ready", 503)
        assert body["waiting_for"] == "shutdown"
        assert (await process.state("/live"))[0] == 200
        assert process.has("ended", number=1) is None, "the work still runs"
        pulls = await pulling(client)
        await order(client, 2, "work")
        assert await process.ended() == 0
        assert process.has("began", number=2) is None
        assert (pulls, await pulling(client)) == (0, 0)
    events = process.events()
    assert events[-3:] == ["service_stopping", "service_drained", "service_closed"]


async def pulling(client: Any) -> int:
    """Return how many requests for messages stand at the broker once the fetch of the moment is over."""
    await asyncio.sleep(1.5)
    waiting: int = (await client.jetstream().consumer_info("QUERIES", "agent")).num_waiting
    return waiting


async def test_a_password_that_is_no_longer_valid_ends_the_process_with_its_code(
    nats_broker: NatsServer, tmp_path: Path
) -> None:
    """The next process reads the new one; this one can only be refused again and again."""
    nats_broker.stop()
    configuration = tmp_path / "nats.conf"
    with broker_with(configuration, nats_broker, "old") as broker:
        client = await nats.connect(nats_broker.url, user=USER, password="old")
        await provision(client.jetstream(), replicas=1)
        await client.close()
        with service(nats_broker.url, RAG_NATS_USER=USER, RAG_NATS_PASSWORD="old") as process:
            await process.becomes("/ready", 200)
            write_configuration(configuration, nats_broker, "new")
            broker.send_signal(signal.SIGHUP)
            assert await process.ended(30) == EXIT_CONNECTION_LOST
            assert logged(process, "broker_connection_closed")
        with service(nats_broker.url, RAG_NATS_USER=USER, RAG_NATS_PASSWORD="new") as process:
            await process.becomes("/ready", 200)


async def test_a_start_that_fails_behind_the_broker_ends_the_process_at_once_with_its_code(
    nats_broker: NatsServer, tmp_path: Path
) -> None:
    """Whoever started it waits for its end to read what is wrong; the connection that was made must not hide it."""
    folders = {"RAG_DATA_DIR": str(tmp_path), "RAG_MODELS_DIR": str(tmp_path / "none")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.retriever.app",
        env=child_environment(RAG_NATS_URL=nats_broker.url, **folders),
        stderr=subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(30):
            _, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == EXIT_MISCONFIGURED
    assert b"start_failed" in said


@contextmanager
def broker_with(configuration: Path, server: NatsServer, password: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a broker on the port and store of another that knows one user."""
    write_configuration(configuration, server, password)
    process = subprocess.Popen([nats_server_binary(), "-c", str(configuration)], stderr=subprocess.DEVNULL)
    try:
        wait_for_port(server.port, process)
        yield process
    finally:
        process.terminate()
        process.wait(10)


def write_configuration(path: Path, server: NatsServer, password: str) -> None:
    path.write_text(
        f"""listen: "127.0.0.1:{server.port}"
jetstream {{ store_dir: "{server.store}" }}
authorization {{ users: [{{ user: "{USER}", password: "{password}" }}] }}
"""
    )
