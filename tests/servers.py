"""Real servers for tests, on free ports, started in well under a second."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nats

from shared.messaging.provisioning import provision

START_TIMEOUT_SECONDS = 10.0


def free_port() -> int:
    """Return a TCP port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def quick_disk() -> str | None:
    """Return a folder in memory where there is room: a busy disk makes dozens of indexes or databases take minutes."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > 2**30 else None


def nats_server_binary() -> str:
    """Return the path of the nats-server that the lock file installs."""
    return str(Path(sys.executable).parent / "nats-server")


@dataclass
class NatsServer:
    """A nats-server process with JetStream on disk; it can be killed and started again on the same data."""

    port: int
    store: Path
    arguments: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return the address to connect to."""
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server and wait until it takes connections."""
        arguments = ["-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", str(self.store), *self.arguments]
        self.process = subprocess.Popen([nats_server_binary(), *arguments], stderr=subprocess.DEVNULL)
        wait_for_port(self.port, self.process)

    def kill(self) -> None:
        """End the server as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End the server in order."""
        self._end(signal.SIGTERM)

    def _end(self, signal_number: int) -> None:
        if self.process is not None:
            self.process.send_signal(signal_number)
            self.process.wait(timeout=START_TIMEOUT_SECONDS)
            self.process = None


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Return once something listens on the port; RuntimeError when the process ends or the time is up."""
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"server ended with code {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.01)
    raise RuntimeError(f"nothing listens on port {port} after {START_TIMEOUT_SECONDS} s")


@contextlib.contextmanager
def nats_server() -> Iterator[NatsServer]:
    """Run a nats-server with an empty store."""
    with tempfile.TemporaryDirectory(prefix="rag-nats-") as store:
        server = NatsServer(free_port(), Path(store))
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def provisioned_nats_server() -> Iterator[NatsServer]:
    """Run a nats-server that has the declared topology."""
    with nats_server() as server:
        asyncio.run(_provision(server.url))
        yield server


async def _provision(url: str) -> None:
    client = await nats.connect(url)
    try:
        # Small revisions are easier to read in a test that fails.
        await provision(client.jetstream(), replicas=1, first_revision=1)
    finally:
        await client.close()


def child_environment(**overrides: str) -> dict[str, str]:
    """Return an environment for a process of ours: the present one without RAG_ settings, plus the given ones."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAG_")}
    return {**inherited, **overrides}
