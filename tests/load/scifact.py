"""SciFact through the whole platform, each figure beside its yardstick from the same run.

    python -m tests.load.scifact --data DIR [--documents N] [--json FILE]

DIR holds corpus.jsonl.gz, queries.jsonl.gz and qrels.tsv in BEIR's form. Prints a table and keeps the raw figures.
"""

import argparse
import gzip
import http.client
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.load.machine import describe_machine
from tests.load.reference import Reference, bare_model_rate, ndcg_at_10
from tests.platform_process import PROJECT, RunningPlatform, rag, running_platform, wait_until

TOP_K = 10
LATENCY_QUERIES = 300
WARM_UP_QUERIES = 20
INGEST_SECONDS = 3600.0


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a gzipped JSON-lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """Return query id -> document id -> relevance."""
    found: dict[str, dict[str, int]] = {}
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        query_id, document_id, relevance = line.split("\t")
        found.setdefault(query_id, {})[document_id] = int(relevance)
    return found


def memory_mb(platform: RunningPlatform) -> float:
    """Return the proportional set size of all processes together: shared pages are counted once."""
    return sum(process.memory_full_info().pss for process in platform.processes()) / 1e6


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return p50 and p99 in milliseconds."""
    ordered = sorted(seconds)
    return {
        "p50_ms": statistics.median(ordered) * 1000,
        "p99_ms": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] * 1000,
    }


def timed(call: Callable[[str], Any], texts: Sequence[str]) -> list[float]:
    """Return how long each call took, in seconds, one after the other."""
    found = []
    for text in texts:
        started = time.perf_counter()
        call(text)
        found.append(time.perf_counter() - started)
    return found


class SearchClient:
    """One client on one kept connection, with nothing in it that would count as the platform's time."""

    def __init__(self, url: str, mode: str = "dense") -> None:
        self._mode = mode
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)

    def search(self, query: str, top_k: int = TOP_K) -> list[dict[str, Any]]:
        """Return the hits of a search."""
        body = json.dumps({"query": query, "mode": self._mode, "top_k": top_k, "collection": "scifact"})
        self._connection.request("POST", "/v1/search", body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        content = json.loads(answer.read())
        assert answer.status == 200, content
        hits: list[dict[str, Any]] = content["hits"]
        return hits


def counts(platform: RunningPlatform) -> dict[str, int]:
    """Return what SQL and index say of themselves."""
    health = httpx.get(f"{platform.url}/health/detailed", timeout=30).json()["services"]
    database = health["persistence"]["replicas"][0]["details"]["database"]
    index = health["retriever"]["replicas"][0]["details"]["index"]
    collections = httpx.get(f"{platform.url}/v1/collections", timeout=30).json()["items"]
    scifact = next((item for item in collections if item["name"] == "scifact"), None)
    by_status = scifact["by_status"] if scifact else {}
    return {"indexed": by_status.get("indexed", 0), "sql_chunks": database["chunks"], "index_chunks": index["chunks"]}


def ingest(platform: RunningPlatform, corpus: Path) -> float:
    """Ingest a corpus through the command line and return the seconds until all of it was indexed."""
    started = time.perf_counter()
    done = rag(
        "ingest", str(corpus), "--collection", "scifact", "--json", url=platform.url, timeout_seconds=INGEST_SECONDS
    )
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        sys.exit(f"rag ingest failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return seconds


def ranking(hits: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return document id -> score, the best chunk of each document."""
    found: dict[str, float] = {}
    for hit in hits:
        found.setdefault(hit["document_id"], hit["score"])
    return found


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run everything once and return the figures."""
    documents = read_jsonl(arguments.data / "corpus.jsonl.gz")[: arguments.documents]
    queries = {line["_id"]: line["text"] for line in read_jsonl(arguments.data / "queries.jsonl.gz")}
    qrels = read_qrels(arguments.data / "qrels.tsv")
    judged = {query_id: queries[query_id] for query_id in qrels if query_id in queries}
    texts = list(judged.values())[:LATENCY_QUERIES]
    figures: dict[str, Any] = {"documents": len(documents)}
    with tempfile.TemporaryDirectory(prefix="rag-bench-") as folder:
        data, corpus = Path(folder) / "data", Path(folder) / "corpus.jsonl.gz"
        with gzip.open(corpus, "wt", encoding="utf-8") as out:
            out.writelines(json.dumps(document) + "\n" for document in documents)
        with running_platform(data) as platform:
            found = measure_platform(figures, platform, corpus, texts, judged)
            figures["ndcg_at_10"] = ndcg_at_10(qrels, found)
            platform.kill_everything()
        with running_platform(data) as platform:
            figures["counts_after_kill"] = wait_until(partial(counts, platform), "counts")
        with Reference(data / "index") as reference:
            figures["search_in_process"] = latency(reference.search, texts)
            figures["hybrid_search_in_process"] = latency(reference.search_hybrid, texts)
            exact = {query_id: reference.exact(text, 50) for query_id, text in judged.items()}
            figures["ndcg_at_10_exact"] = ndcg_at_10(qrels, exact)
            figures["bare_model"] = bare_model_rate(reference.embedded_texts(arguments.bare_chunks))
    return figures


def measure_platform(
    figures: dict[str, Any],
    platform: RunningPlatform,
    corpus: Path,
    texts: Sequence[str],
    judged: Mapping[str, str],
) -> dict[str, dict[str, float]]:
    """Ingest and search, add the figures, and return the rankings of the judged queries."""
    figures["start_seconds"] = platform.ready["seconds"]
    figures["memory_idle_mb"] = memory_mb(platform)
    seconds = ingest(platform, corpus)
    figures["memory_after_ingest_mb"] = memory_mb(platform)
    figures["counts"] = counts(platform)
    figures["ingest"] = {"seconds": seconds, "chunks_per_s": figures["counts"]["index_chunks"] / seconds}
    figures["search"] = latency(SearchClient(platform.url).search, texts)
    figures["hybrid_search"] = latency(SearchClient(platform.url, "hybrid").search, texts)
    # The gateway closes connections that rest for some seconds.
    client = SearchClient(platform.url)
    return {query_id: ranking(client.search(text, 50)) for query_id, text in judged.items()}


def latency(search: Callable[[str], Any], texts: Sequence[str]) -> dict[str, float]:
    """Return p50 and p99 of searches one after the other, after a few that only warm up."""
    timed(search, texts[:WARM_UP_QUERIES])
    return percentiles(timed(search, texts))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=None)
    parser.add_argument("--bare-chunks", type=int, default=1_000)
    parser.add_argument("--json", type=Path, default=PROJECT / ".bench" / "scifact.json")
    arguments = parser.parse_args()
    figures = measure(arguments)
    figures["machine"] = describe_machine()
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
