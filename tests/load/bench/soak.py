"""Row j: twenty minutes of mixed load, in which neither memory nor backlog may grow."""

import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.load.bench.arithmetic import drift, percentiles_ms, slope, thirds
from tests.load.bench.row import Row, Yardstick, at_most
from tests.load.bench.stand import Platform, Stand
from tests.load.overload import begin, result_of
from tests.load.process_watch import resident_mb, services

LETTER: Final = "j"
TITLE: Final = "soak"
SAMPLE_SECONDS: Final = 5.0
WRITTEN: Final = "written"
# The same documents again and again: what grows then is no data.
DOCUMENTS: Final = 500
WRITES_PER_SECOND: Final = 5.0
SEARCHES_PER_SECOND: Final = 5.0
QUESTION_PAUSE_SECONDS: Final = 0.5
# Of memory, last third beside first; a single collection of garbage moves it by some per cent.
GROWTH: Final = 1.05
# Two seconds of writing.
BACKLOG_DRIFT: Final = 10.0
END_SECONDS: Final = 180.0
SECONDS_PER_HOUR: Final = 3_600.0


@dataclass
class Samples:
    """What was seen at each time; times in seconds since the start, memory in MB by process."""

    times: list[float] = field(default_factory=list)
    memory: dict[str, list[float]] = field(default_factory=dict)
    backlog: list[float] = field(default_factory=list)


def measure(stand: Stand) -> list[Row]:
    """Return memory and backlog over time, and what searches took meanwhile."""
    with stand.platform() as platform:
        platform.fill(min(DOCUMENTS, stand.sizes.documents), WRITTEN, sentences=4)
        running = clients(stand, platform)
        samples = watch(stand, platform)
        runs = {name: result_of(process, END_SECONDS) for name, process in running.items()}
    failed = {name: run["errors"] for name, run in runs.items() if run["errors"]}
    if failed:
        raise RuntimeError(f"calls failed during the soak: {failed}")
    return [*rows(samples), *_latencies(runs)]


def clients(stand: Stand, platform: Platform) -> dict[str, subprocess.Popen[str]]:
    """Start writer, searches and questions for the whole soak."""
    size = ("--seconds", str(stand.sizes.soak_warm_up_seconds + stand.sizes.soak_seconds))
    written = ("--collection", WRITTEN, "--rate", str(WRITES_PER_SECOND), "--documents", str(DOCUMENTS))
    searched = ("--collection", WRITTEN, "--rate", str(SEARCHES_PER_SECOND))
    body = f'{{"question": "{{}}", "collection": "{WRITTEN}", "stream": false}}'
    asked = ("--path", "/v1/query", "--body", body, "--expect", '"answered":', "--clients", "1")
    return {
        "writes": begin("bench.steady_writer", "--nats", platform.running.nats_url, *written, *size),
        "searches": begin("open_loop", "--url", platform.url, *searched, *size),
        "questions": begin(
            "bench.http_client", "--url", platform.url, *asked, "--pause", str(QUESTION_PAUSE_SECONDS), *size
        ),
    }


def watch(stand: Stand, platform: Platform) -> Samples:
    """Sample until the soak is over, from the end of the warm-up; RuntimeError when a process is lost."""
    time.sleep(stand.sizes.soak_warm_up_seconds)
    pids, samples, started = services(platform.running), Samples(), time.monotonic()
    for number in range(int(stand.sizes.soak_seconds / SAMPLE_SECONDS) + 1):
        time.sleep(max(0.0, started + number * SAMPLE_SECONDS - time.monotonic()))
        samples.times.append(time.monotonic() - started)
        samples.backlog.append(float(sum(platform.backlog().values())))
        for name, pid in pids.items():
            samples.memory.setdefault(name, []).append(resident_mb(pid, alone=name == "launcher"))
    if services(platform.running) != pids:
        raise RuntimeError(f"processes were replaced during the soak: {pids} became {services(platform.running)}")
    return samples


def rows(samples: Samples) -> list[Row]:
    """Return for each process its memory beside what it was, and its slope; and the backlog."""
    found = []
    for name, values in sorted(samples.memory.items()):
        first, last = thirds(values)
        before = Yardstick("in the first third", (first,))
        found.append(Row(LETTER, f"memory of {name}, last third", "MB", (last,), before, limit=at_most(GROWTH)))
        growth = slope(samples.times, values) * SECONDS_PER_HOUR
        found.append(Row(LETTER, f"memory of {name}: slope", "MB an hour", (growth,)))
    moved = Row(
        LETTER, "backlog, last third less first", "messages", (drift(samples.backlog),), limit=at_most(BACKLOG_DRIFT)
    )
    return [*found, moved, Row(LETTER, "backlog, largest", "messages", (max(samples.backlog),))]


def _latencies(runs: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    found = []
    for name in ("searches", "questions"):
        figures: Sequence[float] = percentiles_ms(runs[name]["latencies_ms"])
        for share, value in zip(("p50", "p99"), figures, strict=True):
            found.append(Row(LETTER, f"{name} during the soak: {share}", "ms", (value,)))
    return found
