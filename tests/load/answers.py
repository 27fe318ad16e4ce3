"""Answers through the whole platform with a language model that takes no time, each figure beside its yardstick.

    python -m tests.load.answers [--data DIR] [--index DIR] [--rounds 3] [--keep]

DIR of `--data` holds corpus.jsonl.gz and queries.jsonl.gz (SciFact); without it documents are made. `--index` names a
folder that keeps the filled platform, so that the next run need not load it again. Users ask in a closed loop, nothing
that was asked before: until the first piece of text, then to the end of the answer. Then the same question again and
again, then questions in agent mode with three tool calls. Exit code 1 when a limit is missed.
"""

import argparse
import contextlib
import gzip
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.load.answers_parts import times_to_first_piece
from tests.load.answers_report import rows
from tests.load.machine import describe_machine
from tests.load.made_documents import document, question
from tests.load.overload import begin, result_of
from tests.load.overload_report import table
from tests.load.process_watch import services
from tests.load.reference import Reference
from tests.load.scifact import read_jsonl
from tests.platform_process import PROJECT, RunningPlatform, rag, running_platform

MADE, MADE_DOCUMENTS = "made", 5_000
# Questions asked in one round, by the number of users; sixty of each, since all begin in the same moment.
QUESTIONS: Mapping[int, int] = {1: 60, 8: 480, 32: 1_920}
WARM_UP_QUESTIONS = 64
CACHED_QUESTIONS = 400
AGENT_QUESTIONS = 40
INGEST_SECONDS = 3_600.0
RUN_SECONDS = 300.0


class Endpoint:
    """The language model's process."""

    def __init__(self, document_id: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.load.answers_endpoint", "--document", document_id],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.url = self._line()

    def report(self) -> dict[str, Any]:
        """Return its own times since the last report."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._line())
        return found

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=30)

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


class Bench:
    """The phases of one run on a started platform whose documents are there."""

    def __init__(
        self,
        platform: RunningPlatform,
        endpoint: Endpoint,
        texts: Path,
        collection: str,
        questions: Mapping[int, int] = QUESTIONS,
    ) -> None:
        self._platform, self._endpoint, self._texts, self._collection = platform, endpoint, texts, collection
        self._questions = questions

    def first_deltas(self, rounds: int) -> dict[str, list[dict[str, Any]]]:
        """Return what users saw in each round, by their number; rounds go through all numbers, so that drift shows."""
        self._ask(8, WARM_UP_QUESTIONS)
        found: dict[str, list[dict[str, Any]]] = {str(users): [] for users in self._questions}
        for _ in range(rounds):
            for users, questions in self._questions.items():
                found[str(users)].append(self._ask(users, questions))
        return found

    def cached(self) -> dict[str, Any]:
        """Return what one user saw who asks the same question again and again."""
        self._ask(1, 1, "--same", "--whole")
        return self._ask(1, CACHED_QUESTIONS, "--same", "--whole")

    def agent(self) -> dict[str, Any]:
        """Return what one user saw whose questions take three tool calls each."""
        self._ask(1, 5, "--mode", "agent")
        return self._ask(1, AGENT_QUESTIONS, "--mode", "agent")

    def _ask(self, users: int, questions: int, *options: str) -> dict[str, Any]:
        self._endpoint.report()
        before = processor_seconds(self._platform)
        numbers = ("--users", str(users), "--questions", str(questions), "--collection", self._collection)
        asking = begin("answers_users", "--url", self._platform.url, "--texts", str(self._texts), *numbers, *options)
        found = result_of(asking, RUN_SECONDS)
        used = {name: spent - before[name] for name, spent in processor_seconds(self._platform).items()}
        return {**found, "endpoint": self._endpoint.report(), "processor_seconds": used}


def processor_seconds(platform: RunningPlatform) -> dict[str, float]:
    """Return what each process has taken of the processors since it began."""
    times = {name: psutil.Process(pid).cpu_times() for name, pid in services(platform).items()}
    return {name: spent.user + spent.system for name, spent in times.items()}


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run everything once and return the figures."""
    documents, questions = material(arguments.data)
    documents = documents[: arguments.documents]
    random.Random(7).shuffle(questions)
    texts, data = folder / "questions.json", arguments.index or folder / "data"
    collection = arguments.data.name if arguments.data else MADE
    texts.write_text(json.dumps(questions), encoding="utf-8")
    figures: dict[str, Any] = {"documents": len(documents), "made": arguments.data is None, "questions": QUESTIONS}
    with contextlib.closing(Endpoint(documents[0]["id"])) as endpoint:
        settings = {"RAG_LLM_BASE_URL": endpoint.url, "RAG_LLM_MODEL": "scripted"}
        with running_platform(data, **settings) as platform:
            fill(platform, documents, collection, folder)
            bench = Bench(platform, endpoint, texts, collection)
            figures["first_delta"] = bench.first_deltas(arguments.rounds)
            figures["cached"] = bench.cached()
            figures["agent"] = bench.agent()
        with Reference(data / "index", collection=collection) as reference:
            figures["parts"] = dict(parts(reference, endpoint.url, questions, arguments.rounds))
    return figures


def parts(reference: Reference, url: str, questions: list[str], rounds: int) -> Iterator[tuple[str, list[list[float]]]]:
    """Yield for each number of users what the parts take in process, by round."""
    times_to_first_piece(reference, url, questions[:WARM_UP_QUESTIONS], 8)
    for users, count in QUESTIONS.items():
        asked = [f"{questions[number % len(questions)]} (case {number})" for number in range(count)]
        yield str(users), [times_to_first_piece(reference, url, asked, users) for _ in range(rounds)]


def material(data: Path | None) -> tuple[list[dict[str, Any]], list[str]]:
    """Return documents and questions: those of a folder in BEIR's form, or made ones."""
    if data is None:
        chosen = random.Random(7)
        made = [document(number, MADE) for number in range(MADE_DOCUMENTS)]
        return made, [question(chosen) for _ in range(1_000)]
    corpus = read_jsonl(data / "corpus.jsonl.gz")
    documents = [{"id": str(one["_id"]), "title": one["title"], "text": one["text"]} for one in corpus]
    return documents, [one["text"] for one in read_jsonl(data / "queries.jsonl.gz")]


def fill(platform: RunningPlatform, documents: Sequence[Mapping[str, Any]], collection: str, folder: Path) -> None:
    """Load the documents unless they are there; ends the process when they do not get in."""
    items = httpx.get(f"{platform.url}/v1/collections", timeout=60).json()["items"]
    there = next((item["by_status"].get("indexed", 0) for item in items if item["name"] == collection), 0)
    if there == len(documents):
        return
    corpus = folder / "corpus.jsonl.gz"
    with gzip.open(corpus, "wt", encoding="utf-8") as out:
        out.writelines(json.dumps({**one, "collection": collection}) + "\n" for one in documents)
    done = rag("ingest", str(corpus), "--json", url=platform.url, timeout_seconds=INGEST_SECONDS)
    if done.returncode != 0:
        sys.exit(f"rag ingest failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")


def main() -> int:
    """Measure, print, and say whether every limit is kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of SciFact; none = made documents")
    parser.add_argument("--index", type=Path, help="folder that keeps the filled platform")
    parser.add_argument("--documents", type=int, help="the first N only, to try something out")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help="keep the figures in docs/benchmarks/answers.json")
    arguments = parser.parse_args()
    started = time.time()
    with tempfile.TemporaryDirectory(prefix="rag-answers-") as folder:
        figures = {**measure(arguments, Path(folder)), "machine": describe_machine()}
    figures["seconds"] = time.time() - started
    path = PROJECT / "docs" / "benchmarks" / "answers.json" if arguments.keep else PROJECT / ".bench" / "answers.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures) + "\n", encoding="utf-8")
    found = rows(figures)
    sys.stdout.write(table(found) + "\n")
    return 0 if all(row.kept for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
