"""The whole platform as a user starts it: `rag up` in a process of its own, on free ports and an empty folder."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.servers import child_environment

PROJECT = Path(__file__).resolve().parent.parent
READY_SECONDS = 90.0
STOP_SECONDS = 45.0


@dataclass
class RunningPlatform:
    """A started platform; `ready` is the launcher's ready line."""

    data: Path
    process: subprocess.Popen[str]
    ready: dict[str, Any]
    collector: threading.Thread
    log: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Return the gateway's base URL."""
        return str(self.ready["url"])

    @property
    def nats_url(self) -> str:
        """Return the broker's address."""
        return str(self.ready["nats_url"])

    @property
    def password(self) -> str:
        """Return the password of the broker's `platform` user."""
        return (self.data / "secrets" / "platform.password").read_text().strip()

    def refusals(self) -> list[str]:
        """Return what the broker refused the services, as they log it."""
        return [line for line in self.log if "permissions violation" in line]

    def processes(self) -> list[psutil.Process]:
        """Return the launcher and every process below it."""
        launcher = psutil.Process(self.process.pid)
        return [launcher, *launcher.children(recursive=True)]

    def kill_everything(self) -> None:
        """End every process at once, as a power cut for processes would."""
        found = self.processes()
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(found, timeout=STOP_SECONDS)
        self._ended()

    def stop(self) -> int:
        """Stop in order and return the launcher's exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self._ended()

    def _ended(self) -> int:
        code = self.process.wait(timeout=STOP_SECONDS)
        self.collector.join(timeout=STOP_SECONDS)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        return code


def rag(
    *arguments: str,
    url: str | None = None,
    timeout_seconds: float = 300,
    settings: Mapping[str, str] | None = None,
    **options: Any,
) -> subprocess.CompletedProcess[str]:
    """Run one `rag` command to its end."""
    named = {**({"RAG_URL": url} if url else {}), **(settings or {})}
    environment = child_environment(**named, COLUMNS="120", NO_COLOR="1")
    command = [sys.executable, "-m", "services.cli.main", *arguments]
    return subprocess.run(
        command,
        cwd=PROJECT,
        env=environment,
        text=True,
        capture_output=True,
        timeout=timeout_seconds,
        check=False,
        **options,
    )


def start_platform(data: Path, *arguments: str, **settings: str) -> RunningPlatform:
    """Start `rag up` and wait for its ready line; RuntimeError with the log's end when it does not come."""
    command = [sys.executable, "-m", "services.cli.main", "up", "--port", "0", "--data", str(data), "--json"]
    process = subprocess.Popen(
        [*command, *arguments],
        cwd=PROJECT,
        env=child_environment(RAG_MODELS_DIR=os.environ.get("RAG_MODELS_DIR", str(PROJECT / ".models")), **settings),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    log: list[str] = []
    assert process.stderr is not None
    assert process.stdout is not None
    collector = threading.Thread(target=_collect, args=(process.stderr, log), daemon=True)
    collector.start()
    timer = threading.Timer(READY_SECONDS, process.kill)
    timer.start()
    line = process.stdout.readline()
    timer.cancel()
    if not line:
        process.wait(timeout=STOP_SECONDS)
        collector.join(timeout=STOP_SECONDS)
        process.stdout.close()
        process.stderr.close()
        raise RuntimeError("`rag up` did not become ready:\n" + "".join(log[-40:]))
    return RunningPlatform(data, process, json.loads(line), collector, log)


@contextlib.contextmanager
def running_platform(data: Path, *arguments: str, **settings: str) -> Iterator[RunningPlatform]:
    """Run the platform until the block ends; `settings` are environment variables."""
    platform = start_platform(data, *arguments, **settings)
    try:
        yield platform
    finally:
        platform.stop()
    # Every run shows that the services' users may do what the services do.
    refused = platform.refusals()
    assert not refused, refused


def _collect(stream: Any, log: list[str]) -> None:
    for line in stream:
        log.append(line)
        del log[:-2000]


def wait_until(condition: Any, claim: str, seconds: float = 30.0) -> Any:
    """Return the first true value of a condition that is asked again and again."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {claim}"
        time.sleep(0.05)
