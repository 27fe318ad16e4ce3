"""What telemetry costs a search: a platform with traces and metrics beside one with neither, in turns.

    python -m tests.load.telemetry_cost [--rounds 12] [--searches 300] [--out docs/benchmarks/telemetry.json]

Both platforms run all the time; blocks of searches go to one and then to the other, so that whatever else the machine
does meets both. The one with telemetry keeps its spans and is scraped as Prometheus would. Processor time is that of
all processes of a platform, the span store included. Run it on a machine that does nothing else.
"""

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import psutil

from tests.load.machine import describe_machine
from tests.load.tracing_cost import concurrent_searches, ingest, wait_for
from tests.platform_process import RunningPlatform, running_platform

KINDS: Final = {"off": {"RAG_OTLP_ENDPOINT": "", "RAG_METRICS": "false"}, "on": {}}
DOCUMENTS: Final = 200
SCRAPE_SECONDS: Final = 15.0
# Spans are exported once a second: what a block has caused is then done.
SETTLE_SECONDS: Final = 2.0
OPEN_METRICS: Final = {"Accept": "application/openmetrics-text; version=1.0.0"}


@dataclass(frozen=True)
class Block:
    """One block of searches: how many a second, and processor time of the platform for each in milliseconds."""

    round: int
    telemetry: str
    searches_per_second: float
    cpu_ms_per_search: float


def main() -> None:
    """Measure, print, and keep the raw figures where asked."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--searches", type=int, default=300)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    blocks = measured(options.rounds, options.searches)
    summary = summary_of(blocks)
    sys.stdout.write(json.dumps(summary, indent=2) + "\n")
    if options.out is not None:
        report = {"machine": describe_machine(), "summary": summary, "blocks": [asdict(block) for block in blocks]}
        options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def measured(rounds: int, searches: int) -> list[Block]:
    """Return the blocks in the order in which they were run; each kind goes first every other time."""
    blocks: list[Block] = []
    with platforms() as running:
        for number in range(rounds + 1):
            for kind in sorted(running, reverse=number % 2 == 0):
                block = one_block(running[kind], number, kind, searches)
                # The first round fills caches and is not counted.
                if number:
                    blocks.append(block)
                    sys.stdout.write(f"{block}\n")
                    sys.stdout.flush()
    return blocks


@contextmanager
def platforms() -> Iterator[dict[str, RunningPlatform]]:
    """Run a platform of each kind with the same documents."""
    with ExitStack() as stack:
        running = {}
        for kind, settings in KINDS.items():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            ports = ("--nats-port", "0", "--nats-monitor-port", "0", "--health-ports", "0")
            running[kind] = stack.enter_context(running_platform(folder, *ports, **settings))
            with httpx.Client(base_url=running[kind].url, timeout=60) as http:
                ingest(http, "notes", DOCUMENTS)
                wait_for(http, "notes", DOCUMENTS)
        stack.enter_context(scraped(running["on"]))
        yield running


@contextmanager
def scraped(platform: RunningPlatform) -> Iterator[None]:
    """Read every process's metrics now and then while the block runs."""
    ended = threading.Event()

    def scrape() -> None:
        while not ended.wait(SCRAPE_SECONDS):
            for url in platform.ready["health"].values():
                httpx.get(f"{url}/metrics", headers=OPEN_METRICS, timeout=SCRAPE_SECONDS).raise_for_status()

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def one_block(platform: RunningPlatform, number: int, kind: str, searches: int) -> Block:
    """Search and return what it took."""
    before = cpu_seconds(platform)
    per_second = concurrent_searches(platform.url, searches)
    time.sleep(SETTLE_SECONDS)
    cpu = cpu_seconds(platform) - before
    return Block(number, kind, round(per_second, 1), round(cpu / searches * 1000, 3))


def cpu_seconds(platform: RunningPlatform) -> float:
    """Return the processor time that all processes of a platform have taken."""
    times = [process.cpu_times() for process in platform.processes() if process.status() != psutil.STATUS_ZOMBIE]
    return sum(each.user + each.system for each in times)


def summary_of(blocks: list[Block]) -> dict[str, Any]:
    """Return medians, and the ratio of each pair that ran one behind the other."""
    found: dict[str, Any] = {"rounds": len(blocks) // 2}
    for name in ("searches_per_second", "cpu_ms_per_search"):
        by_kind = {kind: [getattr(block, name) for block in blocks if block.telemetry == kind] for kind in KINDS}
        ratios = [on / off for on, off in zip(by_kind["on"], by_kind["off"], strict=True)]
        found[name] = {kind: round(statistics.median(values), 3) for kind, values in by_kind.items()}
        found[name]["ratio"] = round(statistics.median(ratios), 3)
        found[name]["ratio_quartiles"] = [round(value, 3) for value in statistics.quantiles(ratios, n=4)[::2]]
    return found


if __name__ == "__main__":
    main()
