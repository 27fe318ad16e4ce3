"""`rag eval` against the real platform, on folders whose figures are known by construction."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.platform_process import RunningPlatform, rag

FACTS = {
    "lighthouse": ("Lighthouse", "The lighthouse of Ostra was built in 1891 by the engineer Hilda Brandt."),
    "bakery": ("Bakery", "The bakery in Mill Street sells rye bread baked with caraway seeds."),
    "glacier": ("Glacier", "The Velka glacier has lost forty metres of thickness since the first survey."),
    "violin": ("Violin", "The violin in the museum was made of maple wood by Pietro Lanza in Cremona."),
    "beetle": ("Beetle", "The stag beetle larva feeds on rotting oak wood for up to six years."),
}
QUERIES = {
    "q1": ("Who built the lighthouse of Ostra?", "lighthouse"),
    "q2": ("What bread does the bakery in Mill Street sell?", "bakery"),
    "q3": ("How much thickness has the Velka glacier lost?", "glacier"),
    "q4": ("How long does the stag beetle larva feed on oak wood?", "beetle"),
}
QUESTIONS: list[dict[str, Any]] = [
    {"id": "a", "question": QUERIES["q1"][0], "answers": ["Hilda Brandt"], "supporting_ids": ["lighthouse", "violin"]},
    {"id": "b", "question": QUERIES["q2"][0], "answers": ["the rye bread"], "context_id": "bakery"},
    {"id": "c", "question": "Which parliament ratified the treaty on fishing quotas?", "is_impossible": True},
]


def jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in BEIR's form that also holds questions: each query matches exactly one of its documents."""
    root: Path = tmp_path_factory.mktemp("evaluation") / "small facts"
    (root / "qrels").mkdir(parents=True)
    corpus = [{"_id": key, "title": title, "text": text, "metadata": {"a": {}}} for key, (title, text) in FACTS.items()]
    jsonl(root / "corpus.jsonl.gz", corpus)
    jsonl(root / "queries.jsonl", [{"_id": key, "text": text} for key, (text, _) in QUERIES.items()])
    rows = "".join(f"{key}\t{document}\t1\n" for key, (_, document) in QUERIES.items())
    (root / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + rows)
    (root / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq1\tbeetle\t1\n")
    jsonl(root / "qa.jsonl", QUESTIONS)
    return root


@pytest.fixture(scope="module")
def figures(platform: RunningPlatform, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The figures of one run, with every result."""
    out = tmp_path_factory.mktemp("out") / "new" / "figures.json"
    done = rag("eval", str(folder), "--out", str(out), "--out-of-domain", str(folder), "--json", url=platform.url)
    assert done.returncode == 0, done.stderr
    kept: dict[str, Any] = json.loads(out.read_text())
    printed = json.loads(done.stdout)
    assert printed["retrieval"]["queries"] == kept["retrieval"]["queries"]
    assert "per_query" not in done.stdout
    return kept


def test_the_corpus_goes_into_a_collection_named_after_the_folder(
    platform: RunningPlatform, figures: dict[str, Any]
) -> None:
    assert figures["collection"] == "small-facts"
    assert figures["ingest"]["indexed"] == len(FACTS)
    listed = json.loads(rag("documents", "--collection", "small-facts", "--json", url=platform.url).stdout)
    assert {item["id"] for item in listed["items"]} == {f"small-facts/{key}" for key in FACTS}


def test_queries_that_match_exactly_one_document_give_perfect_rankings(figures: dict[str, Any]) -> None:
    dense = figures["retrieval"]["modes"]["dense"]
    assert dense["metrics"] == {"ndcg_at_10": 1.0, "recall_at_10": 1.0, "recall_at_100": 1.0, "mrr_at_10": 1.0}
    assert dense["queries"] == len(QUERIES)
    assert 0 < dense["latency"]["p50_ms"] <= dense["latency"]["p99_ms"]
    assert {key: found["documents"][0] for key, found in dense["per_query"].items()} == {
        key: document for key, (_, document) in QUERIES.items()
    }


def test_every_mode_is_measured_or_says_why_not(figures: dict[str, Any]) -> None:
    modes = figures["retrieval"]["modes"]
    assert list(modes) == ["dense", "sparse", "hybrid", "hybrid+rerank"]
    for mode in modes.values():
        assert mode["metrics"]["ndcg_at_10"] > 0 if mode["available"] else mode["reason"]


def test_answers_are_judged_by_what_they_cite(figures: dict[str, Any]) -> None:
    answers = figures["answers"]
    assert answers["answerable"]["questions"] == 2
    assert answers["answerable"]["quote_holds_answer"] == 1.0
    assert answers["answerable"]["wrongly_abstained"] == 0.0
    assert answers["impossible"] == {"questions": 1, "abstained": 1.0, "failures": 0}
    # The folder's own questions asked as if from elsewhere: two of the three are answered.
    assert answers["out_of_domain"]["abstained"] == pytest.approx(1 / 3)
    assert figures["multi_hop"]["dense"]["questions"] == 1
    assert figures["multi_hop"]["dense"]["all_in_top_10"] == 1.0
    record = next(record for record in answers["per_question"] if record["id"] == "a")
    assert "Hilda Brandt" in record["quotes"][0]
    assert record["documents"] == ["lighthouse"]


def test_a_sample_of_a_filled_collection_is_stated(
    platform: RunningPlatform, folder: Path, figures: dict[str, Any]
) -> None:
    options = ("--no-ingest", "--limit", "2", "--seed", "7", "--split", "train", "--markdown")
    done = rag("eval", str(folder), *options, "--collection", figures["collection"], url=platform.url)
    assert done.returncode == 0, done.stderr
    assert "1 of 1 judged queries, 2 of 3 questions, answered by extractive, sampled with seed 7" in done.stdout
    [row] = [line for line in done.stdout.splitlines() if line.startswith("| dense |")]
    assert row.endswith("| 1 |")


def test_a_collection_that_does_not_exist_is_said(platform: RunningPlatform, folder: Path) -> None:
    done = rag("eval", str(folder), "--no-ingest", "--collection", "nowhere", url=platform.url)
    assert done.returncode == 1
    assert "nowhere" in done.stderr
    assert done.stdout == ""


def test_a_folder_without_a_corpus_is_refused_in_one_sentence(platform: RunningPlatform, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    done = rag("eval", str(tmp_path), url=platform.url)
    assert done.returncode == 1
    assert "looked for corpus.jsonl or corpus.jsonl.gz, found notes.txt" in done.stderr
    assert done.stderr.count("\n") == 1
