"""What traces cost: ingestion and search of `rag up` with its span store, and without, in turns.

    python -m tests.load.tracing_cost [--rounds 3] [--documents 600] [--searches 400]

Documents of one sentence, so that the cost of messages is not hidden behind that of embedding. Prints each run and the
medians; run it on a machine that does nothing else.
"""

import argparse
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.platform_process import running_platform

BATCH = 50
CALLERS = 4
OFF = {"RAG_OTLP_ENDPOINT": ""}
WORDS = [
    *("river", "mountain", "harbour", "lantern", "copper", "violin"),
    *("meadow", "granite", "orchard", "compass", "thunder", "velvet"),
]


@dataclass(frozen=True)
class Run:
    """Documents indexed a second, and searches: median in milliseconds alone, in a flood, and a second by several."""

    documents_per_second: float
    search_ms: float
    search_in_flood_ms: float
    searches_per_second: float


def main() -> None:
    """Measure in turns and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--documents", type=int, default=600)
    parser.add_argument("--searches", type=int, default=400)
    options = parser.parse_args()
    found: dict[str, list[Run]] = {"without": [], "with": []}
    for number in range(options.rounds):
        for kind in ("without", "with") if number % 2 == 0 else ("with", "without"):
            run = measure(OFF if kind == "without" else {}, options.documents, options.searches)
            found[kind].append(run)
            sys.stdout.write(f"{kind:8} {run}\n")
            sys.stdout.flush()
    for name in Run.__annotations__:
        without, with_ = (statistics.median(getattr(run, name) for run in found[kind]) for kind in ("without", "with"))
        sys.stdout.write(f"{name}: without {without:.1f}, with {with_:.1f} ({(with_ / without - 1) * 100:+.1f} %)\n")


def measure(settings: dict[str, str], documents: int, searches: int) -> Run:
    """Return the figures of one platform that is started for it."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_platform(Path(folder), **settings) as platform,
        httpx.Client(base_url=platform.url, timeout=60) as http,
    ):
        ingest(http, "warm", BATCH)
        wait_for(http, "warm", BATCH)
        alone = [search(http, number) for number in range(searches)]
        per_second = concurrent_searches(platform.url, searches)
        started = time.perf_counter()
        ingest(http, "flood", documents)
        in_flood: list[float] = []
        while indexed(http, "flood") < documents:
            in_flood.append(search(http, len(in_flood)))
            time.sleep(0.05)
        seconds = time.perf_counter() - started
        return Run(
            round(documents / seconds, 1),
            round(statistics.median(alone), 2),
            round(statistics.median(in_flood), 2),
            round(per_second, 1),
        )


def ingest(http: httpx.Client, collection: str, count: int) -> None:
    """Send documents of one sentence each."""
    for first in range(0, count, BATCH):
        numbers = range(first, min(first + BATCH, count))
        body = {"documents": [document(collection, number) for number in numbers]}
        http.post("/v1/documents", json=body).raise_for_status()


def document(collection: str, number: int) -> dict[str, Any]:
    """Return a document unlike the others."""
    words = [WORDS[(number * 7 + place * place) % len(WORDS)] for place in range(12)]
    return {"id": f"{collection}-{number}", "collection": collection, "text": f"Note {number}: {' '.join(words)}."}


def indexed(http: httpx.Client, collection: str) -> int:
    """Return how many documents of a collection can be found."""
    items = http.get("/v1/collections").json()["items"]
    return next((item["by_status"].get("indexed", 0) for item in items if item["name"] == collection), 0)


def wait_for(http: httpx.Client, collection: str, count: int) -> None:
    """Return when so many are indexed."""
    while indexed(http, collection) < count:
        time.sleep(0.05)


def search(http: httpx.Client, number: int) -> float:
    """Return how long one search takes, in milliseconds; its query was not asked before."""
    query = f"{WORDS[number % len(WORDS)]} {number} {time.time_ns()}"
    started = time.perf_counter()
    http.post("/v1/search", json={"query": query, "top_k": 5}).raise_for_status()
    return (time.perf_counter() - started) * 1000


def concurrent_searches(url: str, count: int) -> float:
    """Return how many searches a second several callers get."""

    def caller(first: int) -> None:
        with httpx.Client(base_url=url, timeout=60) as http:
            for number in range(first, count, CALLERS):
                search(http, number)

    started = time.perf_counter()
    with ThreadPoolExecutor(CALLERS) as pool:
        list(pool.map(caller, range(CALLERS)))
    return count / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
