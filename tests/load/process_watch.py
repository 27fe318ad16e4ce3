"""What the platform's processes are and how much memory they take, sampled while something runs."""

import contextlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import psutil

from tests.platform_process import RunningPlatform

SAMPLE_SECONDS = 1.0
LAUNCHER = "launcher"


def services(platform: RunningPlatform) -> dict[str, int]:
    """Return the process ids of the launcher, the broker and every service; children of theirs come and go."""
    launcher = psutil.Process(platform.process.pid)
    return {LAUNCHER: launcher.pid} | {_name(child): child.pid for child in launcher.children()}


def _name(process: psutil.Process) -> str:
    return process_name(process.cmdline(), process.environ().get("RAG_INSTANCE", ""))


def process_name(command: Sequence[str], instance: str) -> str:
    """Return how a process is called: `agent` for a service's first replica, then `agent.2`; `embedder.queries`."""
    module = next((part for part in command if part.startswith("services.")), None)
    if module is None:
        return "nats-server"
    service = module.split(".")[1]
    replica = instance.removeprefix(f"{service}-")
    return service if replica in {"", "1"} else f"{service}.{replica}"


@dataclass
class ProcessWatch:
    """Samples memory until it is closed; megabytes, a parser's children counted with it."""

    platform: RunningPlatform
    first_mb: dict[str, float] = field(default_factory=dict)
    highest_mb: dict[str, float] = field(default_factory=dict)
    highest_sum_mb: float = 0.0

    def __post_init__(self) -> None:
        self.started_as = services(self.platform)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End sampling."""
        self._closed.set()
        self._thread.join()

    def lost(self) -> list[str]:
        """Return the names of processes that are gone or were replaced."""
        now = services(self.platform)
        return sorted(name for name, pid in self.started_as.items() if now.get(name) != pid)

    def _watch(self) -> None:
        while True:
            sample = {name: resident_mb(pid, alone=name == LAUNCHER) for name, pid in self.started_as.items()}
            self.first_mb = self.first_mb or sample
            self.highest_mb = {name: max(mb, self.highest_mb.get(name, 0.0)) for name, mb in sample.items()}
            self.highest_sum_mb = max(self.highest_sum_mb, sum(sample.values()))
            if self._closed.wait(SAMPLE_SECONDS):
                return


def resident_mb(pid: int, *, alone: bool) -> float:
    """Return the memory of a process, with that of its children unless it is looked at alone; 0 when it is gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        found = [process] if alone else [process, *process.children(recursive=True)]
        return float(sum(each.memory_info().rss for each in found) / 1e6)
    return 0.0
