"""A producer that publishes as fast as it can, beside interactive search; each figure beside its limit.

    python -m tests.load.overload [--documents 50000] [--seconds 60] [--whole] [--keep]

Starts `rag up` on an empty folder, searches a small collection ten times a second (open loop) while nothing else goes
on, then publishes the documents straight onto `rag.v1.ingest.default` and goes on searching: during the flood, and in
windows with and without search while the backlog is worked off. At the end every acknowledged document must be
accounted for; `--whole` waits until all are indexed. Exit code 1 when a limit is missed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.load.machine import describe_machine
from tests.load.overload_report import rows, table
from tests.load.process_watch import ProcessWatch
from tests.platform_process import PROJECT, RunningPlatform, running_platform, wait_until
from tests.servers import child_environment

SEARCHED, FLOODED = "searched", "flood"
RATE_PER_SECOND = 10.0
SEARCHED_DOCUMENTS = 500
WARM_UP_SECONDS = 10.0
INDEXED_SECONDS = 300.0
FLOOD_SECONDS = 1_800.0
WHOLE_SECONDS = 14_400.0
# A rate taken over less says little: batches of some dozen chunks come in at once.
LEAST_WINDOW_SECONDS = 5.0


def begin(module: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a load generator, whose result is one JSON object on its output."""
    command = [sys.executable, "-m", f"tests.load.{module}", *arguments]
    return subprocess.Popen(command, cwd=PROJECT, env=child_environment(), text=True, stdout=subprocess.PIPE)


def result_of(process: subprocess.Popen[str], seconds: float) -> dict[str, Any]:
    """Return what a load generator measured; RuntimeError when it failed."""
    out, _ = process.communicate(timeout=seconds)
    if process.returncode != 0:
        raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
    found: dict[str, Any] = json.loads(out)
    return found


class Bench:
    """The phases of one run on a started platform."""

    def __init__(self, platform: RunningPlatform, documents: int, seconds: float) -> None:
        self._platform = platform
        self._documents = documents
        self._seconds = seconds
        self.figures: dict[str, Any] = {
            "documents": documents,
            "window_seconds": seconds,
            "search_rate": RATE_PER_SECOND,
        }

    def run(self, *, whole: bool) -> dict[str, Any]:
        """Run every phase and return the figures."""
        self._load_searched()
        self._search_for(WARM_UP_SECONDS)
        self.figures["idle"] = self._search_for(self._seconds)
        watch = ProcessWatch(self._platform)
        self._flood()
        self._saturated()
        if whole:
            self._work_off()
        watch.close()
        self.figures["accounts"] = self._accounts()
        self.figures["memory_mb"] = {
            "before": watch.first_mb,
            "highest": watch.highest_mb,
            "highest_sum": watch.highest_sum_mb,
        }
        self.figures["lost_processes"] = watch.lost()
        return self.figures

    def _load_searched(self) -> None:
        nats, count = self._platform.nats_url, SEARCHED_DOCUMENTS
        loading = begin("flood", "--nats", nats, "--documents", str(count), "--collection", SEARCHED)
        result_of(loading, INDEXED_SECONDS)
        wait_until(lambda: self._statuses(SEARCHED).get("indexed") == count, "searched is indexed", INDEXED_SECONDS)

    def _searching(self, seconds: float) -> subprocess.Popen[str]:
        options = ("--rate", str(RATE_PER_SECOND), "--seconds", str(seconds), "--collection", SEARCHED)
        return begin("open_loop", "--url", self._platform.url, *options)

    def _search_for(self, seconds: float) -> dict[str, Any]:
        return result_of(self._searching(seconds), seconds + 60)

    def _flood(self) -> None:
        """Publish, and search until the flood is published and recorded."""
        searching = self._searching(FLOOD_SECONDS)
        started = time.monotonic()
        options = ("--documents", str(self._documents), "--collection", FLOODED)
        producer = begin("flood", "--nats", self._platform.nats_url, *options)
        self.figures["producer"] = result_of(producer, FLOOD_SECONDS)
        wait_until(lambda: self._stage("persistence-intake") == 0, "the flood is recorded", FLOOD_SECONDS)
        self.figures["flood_recorded_seconds"] = time.monotonic() - started
        searching.terminate()
        self.figures["flood"] = result_of(searching, 60)

    def _saturated(self) -> None:
        """Take windows with, without and with search, so that a drift of the machine cancels out."""
        with_search: list[float] = []
        without: list[float] = []
        for searching in (True, False, True):
            window, found = self._window(searching=searching)
            (with_search if searching else without).append(window)
            if found is not None:
                self.figures.setdefault("saturated", []).append(found)
        self.figures["chunks_per_second"] = {"with_search": with_search, "without_search": without}
        self.figures["backlog_after_windows"] = self._stage("parser") + self._stage("embedder")

    def _window(self, *, searching: bool) -> tuple[float, dict[str, Any] | None]:
        before, started = self._index_chunks(), time.monotonic()
        found = self._search_for(self._seconds) if searching else None
        if found is None:
            time.sleep(max(LEAST_WINDOW_SECONDS, self._seconds))
        return (self._index_chunks() - before) / (time.monotonic() - started), found

    def _work_off(self) -> None:
        started = time.monotonic()
        done = lambda: self._statuses(FLOODED).get("indexed") == self._documents  # noqa: E731
        wait_until(done, "every document is indexed", WHOLE_SECONDS)
        self.figures["worked_off_seconds"] = time.monotonic() - started

    def _accounts(self) -> dict[str, Any]:
        pipeline = self._get("/v1/admin/pipeline")
        return {
            "by_status": self._statuses(FLOODED),
            "dead_letters": sum(stage["dead_letters"] for stage in pipeline["stages"]),
            "backlog": {stage["stage"]: stage["backlog"] + stage["in_flight"] for stage in pipeline["stages"]},
        }

    def _statuses(self, collection: str) -> dict[str, int]:
        items = self._get("/v1/collections")["items"]
        found: dict[str, int] = next((item["by_status"] for item in items if item["name"] == collection), {})
        return found

    def _stage(self, name: str) -> int:
        stages = self._get("/v1/admin/pipeline")["stages"]
        return sum(stage["backlog"] + stage["in_flight"] for stage in stages if stage["stage"] == name)

    def _index_chunks(self) -> int:
        health = self._get("/health/detailed")["services"]
        return int(health["retriever"]["replicas"][0]["details"]["index"]["chunks"])

    def _get(self, path: str) -> Any:
        answer = httpx.get(f"{self._platform.url}{path}", timeout=60)
        answer.raise_for_status()
        return answer.json()


def measure(documents: int, seconds: float, *, whole: bool = False) -> dict[str, Any]:
    """Start a platform, run everything once and return the figures."""
    with (
        tempfile.TemporaryDirectory(prefix="rag-overload-") as folder,
        running_platform(Path(folder) / "data") as platform,
    ):
        figures = Bench(platform, documents, seconds).run(whole=whole)
        figures["exit_code"] = platform.stop()
    return {**figures, "machine": describe_machine()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and say whether every limit is kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--documents", type=int, default=50_000)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each window")
    parser.add_argument("--whole", action="store_true", help="wait until every document is indexed")
    parser.add_argument("--keep", action="store_true", help="keep the figures in docs/benchmarks/overload.json")
    given = parser.parse_args(arguments)
    figures = measure(given.documents, given.seconds, whole=given.whole)
    path = PROJECT / "docs" / "benchmarks" / "overload.json" if given.keep else PROJECT / ".bench" / "overload.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures) + "\n")
    found = rows(figures)
    sys.stdout.write(table(found) + "\n")
    return 0 if all(row.kept for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
