"""`rag eval` on a fresh platform for every dataset of a folder, each figure beside its yardstick from the same run.

    python -m tests.load.evaluation --data DIR [--only NAME] [--out-of-domain NAME=OTHER] [--limit N] [--keep]

Prints tables in Markdown. Every single result is kept in .bench/eval-NAME.json. With --keep the figures go to
docs/benchmarks/eval-NAME.json, and the tables of all that are there into docs/benchmarks.md.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from services.cli.evaluation.dataset import Dataset, find_dataset
from services.cli.evaluation.evaluating import write_json
from services.cli.evaluation.latency import percentiles
from services.cli.evaluation.ranking import average, measure, rank_documents
from services.cli.evaluation.reading import read_judgements, read_objects, read_queries
from services.cli.evaluation.report import markdown, without_results
from services.cli.evaluation.retrieval import LATENCY_QUERIES, QUALITY_TOP_K, WARM_UP_QUERIES
from tests.load.lexical import ReferenceBm25
from tests.load.machine import describe_machine
from tests.load.reference import Reference
from tests.load.scifact import timed
from tests.platform_process import PROJECT, RunningPlatform, running_platform
from tests.servers import child_environment

RESULTS = PROJECT / ".bench"
KEPT = PROJECT / "docs" / "benchmarks"
PAGE = PROJECT / "docs" / "benchmarks.md"
SECTION_START, SECTION_END = "<!-- tables of make eval -->", "<!-- end of the tables -->"
RUN_SECONDS = 4 * 3600
# The parts of a search in process, by mode; a mode that has none here gets no latency yardstick.
PARTS: Mapping[str, Callable[[Reference, str], Any]] = {"dense": Reference.search, "hybrid": Reference.search_hybrid}

Search = Callable[[str], list[str]]


def datasets(data: Path, only: list[str]) -> list[Dataset]:
    """Return the datasets in a folder, or the folder itself when it is one."""
    folders = [data, *sorted(path for path in data.iterdir() if path.is_dir())]
    found = [find_dataset(folder) for folder in folders]
    usable = [dataset for dataset in found if dataset.corpus and (dataset.has_judgements or dataset.questions)]
    return [dataset for dataset in usable if not only or dataset.name in only]


def evaluate(dataset: Dataset, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run one dataset through a platform of its own and return the figures with their yardsticks."""
    with tempfile.TemporaryDirectory(prefix="rag-eval-") as folder:
        data, out = Path(folder) / "data", Path(folder) / "figures.json"
        with running_platform(data) as platform:
            run_command(dataset, platform, out, arguments)
        figures: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        if "retrieval" in figures:
            with Reference(data / "index", collection=figures["collection"]) as reference:
                figures["retrieval"]["yardsticks"] = list(yardsticks(dataset, figures, reference))
    figures["machine"] = describe_machine()
    return figures


def run_command(dataset: Dataset, platform: RunningPlatform, out: Path, arguments: argparse.Namespace) -> None:
    """Run `rag eval` and show its progress; ends the process when it fails."""
    command = [sys.executable, "-m", "services.cli.main", "eval", str(dataset.folder), "--json", "--out", str(out)]
    command += ["--seed", str(arguments.seed)]
    if arguments.limit:
        command += ["--limit", str(arguments.limit)]
    if other := dict(arguments.out_of_domain).get(dataset.name):
        command += ["--out-of-domain", str(arguments.data / other)]
    environment = child_environment(RAG_URL=platform.url)
    done = subprocess.run(
        command, cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL, timeout=RUN_SECONDS, check=False
    )
    if done.returncode != 0:
        sys.exit(f"rag eval {dataset.folder} failed")


def yardsticks(dataset: Dataset, figures: Mapping[str, Any], reference: Reference) -> Iterator[dict[str, Any]]:
    """Yield what each mode is compared with, measured on the same queries and in the same way."""
    assert dataset.queries is not None
    assert dataset.corpus is not None
    texts = read_queries(dataset.queries)
    modes = figures["retrieval"]["modes"]
    queries = {query_id: texts[query_id] for query_id in modes["dense"]["per_query"]}
    judgements = read_judgements(dataset.qrels)

    def judged(beside: str, name: str, search: Search) -> dict[str, Any]:
        rankings = {
            query_id: rank_documents(search(text), query_id, judgements[query_id]) for query_id, text in queries.items()
        }
        measured = measure({query_id: judgements[query_id] for query_id in queries}, rankings)
        return {"beside": beside, "name": name, "queries": len(queries), "metrics": average(measured)}

    prefix = f"{figures['collection']}/"
    chunk_documents, chunk_texts = reference.chunks()
    chunks = ReferenceBm25([document.removeprefix(prefix) for document in chunk_documents], chunk_texts)
    whole = ReferenceBm25(*whole_documents(dataset.corpus))
    yield judged(
        "dense",
        "exact search over the same vectors (numpy)",
        lambda text: [document.removeprefix(prefix) for document in reference.exact(text, QUALITY_TOP_K)],
    )
    yield judged("sparse", "bm25s over the same chunks", lambda text: chunks.search(text, QUALITY_TOP_K))
    yield judged("sparse", "bm25s over whole documents", lambda text: whole.search(text, QUALITY_TOP_K))
    for mode, part in PARTS.items():
        if modes[mode]["available"]:
            yield latency_of_parts(mode, partial(part, reference), list(queries.values()))


def latency_of_parts(mode: str, search: Callable[[str], Any], queries: list[str]) -> dict[str, Any]:
    """Return the latency of query embedding and index look-up without a platform around them."""
    timed(search, queries[:WARM_UP_QUERIES])
    chosen = queries[:LATENCY_QUERIES]
    latency = percentiles(timed(search, chosen))
    return {"beside": mode, "name": "its parts called in process", "queries": len(chosen), "latency": latency}


def whole_documents(corpus: Path) -> tuple[list[str], list[str]]:
    """Return ids and texts of the documents as they were before they were cut, the title in front."""
    documents = [fields for _, fields in read_objects(corpus)]
    ids = [str(fields.get("_id", fields.get("id"))) for fields in documents]
    return ids, [f"{fields.get('title') or ''}\n\n{fields.get('text') or ''}" for fields in documents]


def write_page(page: Path, kept: Path) -> None:
    """Put the tables of all figures in the folder `kept` between the marks of the page."""
    before, start, rest = page.read_text(encoding="utf-8").partition(SECTION_START)
    _, end, after = rest.partition(SECTION_END)
    if not start or not end:
        sys.exit(f"{page} does not hold {SECTION_START} and {SECTION_END}")
    figures = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(kept.glob("eval-*.json"))]
    section = "\n".join(f"### {one['dataset']}\n\n{markdown(one)}" for one in figures)
    page.write_text(f"{before}{start}\n\n{section}\n{end}{after}", encoding="utf-8")


def pair(text: str) -> tuple[str, str]:
    """Return both sides of NAME=OTHER."""
    name, equals, other = text.partition("=")
    if not name or not equals or not other:
        raise argparse.ArgumentTypeError(f"takes NAME=OTHER, found {text!r}")
    return name, other


def parse() -> argparse.Namespace:
    """Return the command line's values."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="folder of dataset folders, or one of them")
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument(
        "--out-of-domain",
        action="append",
        default=[],
        type=pair,
        metavar="NAME=OTHER",
        help="ask the questions of folder OTHER against the documents of folder NAME too",
    )
    parser.add_argument("--limit", type=int, default=None, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--keep", action="store_true", help="write docs/benchmarks.md and docs/benchmarks/eval-*.json")
    return parser.parse_args()


def main() -> None:
    """Evaluate and print."""
    arguments = parse()
    found = datasets(arguments.data, arguments.only)
    if not found:
        sys.exit(f"no folder with a corpus and something to ask in {arguments.data}")
    for dataset in found:
        figures = evaluate(dataset, arguments)
        write_json(RESULTS / f"eval-{dataset.name}.json", figures)
        sys.stdout.write(f"### {dataset.name}\n\n{markdown(figures)}\n")
        sys.stdout.flush()
        if arguments.keep:
            write_json(KEPT / f"eval-{dataset.name}.json", without_results(figures))
    if arguments.keep:
        write_page(PAGE, KEPT)


if __name__ == "__main__":
    main()
