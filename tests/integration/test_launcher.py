"""`rag up` as an operator meets it: real processes, a real broker, small programs in the place of the services.

The stand-ins answer `/ready` and end on SIGTERM, as a service does; what they do otherwise a variable tells them.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from contracts.topology import STREAMS
from services.cli.plan import QUERY_EMBEDDER, STOP_ORDER
from services.cli.scaling import SERVICES
from shared.settings import PROJECT_ROOT
from tests.servers import child_environment, free_port

PATIENCE_SECONDS = 20.0

STAND_IN = """
import asyncio, os, signal, sys
name = sys.argv[1]
mode = os.environ.get("STAND_IN_" + name, "")
if mode.startswith("exit "):
    print("RAG_SOMETHING is wrong", flush=True)
    sys.exit(int(mode.removeprefix("exit ")))
if mode == "chatty":
    for number in range(100_000):
        print(f"line {number} of a service that prints more than anybody reads", flush=True)

async def main():
    stop = asyncio.Event()
    asked = (lambda: print("not now", flush=True)) if mode == "deaf" else stop.set
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked)

    async def answer(reader, writer):
        await reader.readuntil(b"\\r\\n\\r\\n")
        writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\n{}")
        await writer.drain()
        writer.close()

    await asyncio.start_server(answer, os.environ["RAG_HOST"], int(os.environ["RAG_PORT"]))
    await stop.wait()
    print("goodbye", flush=True)

asyncio.run(main())
"""

DRIVER = """
import sys
from pathlib import Path
from services.cli import start
from services.cli.main import main
original = start.start
start.start = lambda options: original(options, lambda name: (sys.executable, {stand_in!r}, name), 8.0)
sys.exit(main())
"""


@dataclass
class Up:
    """A running `rag up --json`."""

    process: subprocess.Popen[str]
    log: Path
    ready: dict[str, Any] = field(default_factory=dict)

    def wait_until_ready(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log.read_text()
        self.ready = json.loads(line)
        return self.ready

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)

    def logged(self, text: str) -> bool:
        return text in self.log.read_text()


Start = Callable[..., Up]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Up] = []

    def run(*arguments: str, data: str = "data", **modes: str) -> Up:
        stand_in = tmp_path / "stand_in.py"
        stand_in.write_text(STAND_IN)
        environment = child_environment(**{f"STAND_IN_{name}": mode for name, mode in modes.items()})
        log = tmp_path / f"log-{len(started)}"
        command = [sys.executable, "-c", DRIVER.format(stand_in=str(stand_in)), "up", "--json"]
        with log.open("w") as stderr:
            process = subprocess.Popen(
                [*command, "--port", "0", "--data", str(tmp_path / data), *arguments],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                cwd=PROJECT_ROOT,
                env={**environment, "RAG_EMBEDDING_URL": "http://127.0.0.1:1"},
            )
        started.append(Up(process, log))
        return started[-1]

    yield run
    for up in started:
        up.process.kill()
        up.process.wait()
        if up.process.stdout is not None:
            up.process.stdout.close()


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def streams(monitor: str) -> set[str]:
    with urllib.request.urlopen(monitor) as reply:
        # A broker that has just started says nothing of accounts yet.
        accounts = json.load(reply).get("account_details", [])
    return {stream["name"] for account in accounts for stream in account["stream_detail"]}


def test_all_of_it_becomes_ready_and_ends_in_the_order_of_the_work(start: Start, tmp_path: Path) -> None:
    up = start("--scale", "parser=2")
    ready = up.wait_until_ready()
    names = ["parser.1" if name == "parser" else name for name in SERVICES]
    assert sorted(ready["pids"]) == sorted([*names, "parser.2", QUERY_EMBEDDER, "nats-server"])
    assert all(answers(f"{url}/ready") for url in ready["health"].values())
    assert ready["data"] == str(tmp_path / "data")
    with socket.create_connection(("127.0.0.1", int(ready["nats_url"].rpartition(":")[2])), timeout=2) as broker:
        assert broker.recv(4) == b"INFO"

    assert up.end(signal.SIGINT) == 0
    assert not any(alive(pid) for pid in ready["pids"].values())
    goodbyes = [line.split(" ")[0] for line in up.log.read_text().splitlines() if line.endswith("goodbye")]
    assert [name.partition(".")[0] for name in goodbyes] == [
        name for name in STOP_ORDER[:-1] for _ in range(2 if name in {"parser", "embedder"} else 1)
    ]
    assert "Server Exiting" in (tmp_path / "data" / "logs" / "nats-server.log").read_text()
    assert "[INF]" not in up.log.read_text()


def test_a_killed_service_and_a_killed_broker_come_back_where_they_were(start: Start) -> None:
    up = start()
    ready = up.wait_until_ready()
    for name in ("parser", "nats-server"):
        os.kill(ready["pids"][name], signal.SIGKILL)
        eventually(lambda name=name: up.logged(f"{name} ended with signal SIGKILL"))  # type: ignore[misc]
    eventually(lambda: answers(f"{ready['health']['parser']}/ready"))
    monitor = f"{ready['nats_monitor_url']}/jsz?accounts=true&streams=true"
    # Those kept on disk come with the store, those kept in memory are declared again.
    declared = {*(stream.name for stream in STREAMS), "OBJ_uploads", "KV_agent-steps"}
    eventually(lambda: answers(monitor) and streams(monitor) == declared)
    assert up.end() == 0


def test_killing_the_launcher_ends_everything_and_the_folder_can_be_used_at_once(start: Start) -> None:
    first = start()
    pids = first.wait_until_ready()["pids"]
    first.process.kill()
    first.process.wait()
    second = start()
    second.wait_until_ready()
    assert not any(alive(pid) for pid in pids.values())
    assert second.end() == 0


def test_a_folder_serves_one_launcher_at_a_time(start: Start) -> None:
    first = start()
    first.wait_until_ready()
    second = start()
    assert second.process.wait(PATIENCE_SECONDS) == 1
    [line] = second.log.read_text().splitlines()
    assert "another `rag up` uses the data folder" in line
    assert first.end() == 0


def test_a_taken_port_is_named_with_the_option_that_changes_it(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        up = start("--port", str(port))
        assert up.process.wait(PATIENCE_SECONDS) == 1
    [line] = up.log.read_text().splitlines()
    assert line == f"rag: port {port} on 127.0.0.1 is taken; choose another with --port (0 = any free one)"


def test_a_configuration_error_stops_everything_and_shows_its_reason(start: Start) -> None:
    up = start(persistence="exit 2")
    assert up.process.wait(PATIENCE_SECONDS) == 1
    told = up.log.read_text()
    assert "rag: persistence cannot start: it ended with exit code 2; its last lines:\n  RAG_SOMETHING is wrong" in told


def test_a_service_that_never_gets_up_ends_the_start(start: Start) -> None:
    up = start(agent="exit 1")
    assert up.process.wait(PATIENCE_SECONDS) == 1
    assert up.logged("rag: agent cannot start: it ended 3 times with exit code 1")


def test_a_second_interrupt_kills_what_does_not_listen(start: Start) -> None:
    up = start(gateway="deaf")
    ready = up.wait_until_ready()
    up.process.send_signal(signal.SIGINT)
    eventually(lambda: up.logged("not now"))
    started = time.monotonic()
    assert up.end(signal.SIGINT) == 1
    assert time.monotonic() - started < 2
    assert not any(alive(pid) for pid in ready["pids"].values())


def test_what_does_not_end_in_time_is_killed_and_the_rest_ends_in_order(start: Start) -> None:
    up = start(embedder="deaf")
    ready = up.wait_until_ready()
    assert up.end() == 1
    assert up.logged("embedder did not end in time and is killed")
    assert sum(line.endswith("goodbye") for line in up.log.read_text().splitlines()) == len(SERVICES) - 1
    assert not any(alive(pid) for pid in ready["pids"].values())


def test_an_interrupt_during_the_start_ends_it_in_order(start: Start, tmp_path: Path) -> None:
    up = start()
    eventually((tmp_path / "data" / "logs" / "nats-server.log").exists)
    assert up.end() == 0
    assert not [
        process for process in psutil.process_iter(["cmdline"]) if str(tmp_path) in str(process.info["cmdline"])
    ]


def test_a_service_that_prints_without_end_is_never_held_up(start: Start, tmp_path: Path) -> None:
    up = start(parser="chatty")
    up.wait_until_ready()
    assert up.end() == 0
    logs = tmp_path / "data" / "logs"
    assert "line 99999 of" in (logs / "parser.log").read_text()


def test_an_address_that_others_could_reach_is_refused(start: Start) -> None:
    up = start("--host", "0.0.0.0")
    assert up.process.wait(PATIENCE_SECONDS) == 2
    assert "RAG_AUTH=off" in up.log.read_text()


def test_named_ports_are_used_as_they_are(start: Start) -> None:
    port, broker_port = free_port(), free_port()
    up = start("--port", str(port), "--nats-port", str(broker_port), "--nats-monitor-port", "0", "--health-ports", "0")
    ready = up.wait_until_ready()
    assert ready["url"] == f"http://127.0.0.1:{port}"
    assert ready["nats_url"] == f"nats://127.0.0.1:{broker_port}"
    assert up.end() == 0
