"""Tables out of figures."""

import copy
from typing import Any

from services.cli.evaluation.report import markdown, notes, tables, title, without_results

METRICS = {"ndcg_at_10": 0.75, "recall_at_10": 0.8, "recall_at_100": 0.9, "mrr_at_10": 0.7}
MODE: dict[str, Any] = {
    "available": True,
    "queries": 1200,
    "metrics": METRICS,
    "latency": {"p50_ms": 10.04, "p99_ms": 20.0, "count": 300},
    "reranked_share": None,
    "failures": {},
    "per_query": {"q": {"documents": ["d"]}},
}
FIGURES: dict[str, Any] = {
    "dataset": "facts",
    "collection": "facts-2",
    "sampling": {"limit": None, "seed": 0},
    "ingest": {"indexed": 5183, "failed": 0, "failures": []},
    "retrieval": {
        "queries": 1200,
        "of": 1200,
        "modes": {
            "dense": MODE,
            "sparse": {"available": False, "reason": "mode 'sparse' is not available yet"},
            "hybrid+rerank": {**MODE, "reranked_share": 0.5, "failures": {"timeout": 2}},
        },
        "yardsticks": [{"name": "exact search", "beside": "dense", "queries": 1200, "metrics": METRICS}],
    },
}
ANSWERS: dict[str, Any] = {
    "answerer": "tiny",
    "questions": 3,
    "of": 10,
    "answerable": {"questions": 2, "quote_holds_answer": 0.5, "answer_holds_answer": 0.0, "wrongly_abstained": 0.5},
    "impossible": {"questions": 1, "abstained": 1.0},
    "out_of_domain": {"questions": 0, "abstained": None, "of": 0},
    "latency": {"p50_ms": 5.0, "p99_ms": 6.0, "count": 3},
    "failures": {},
    "per_question": [],
}


def test_every_mode_is_a_row_with_its_yardsticks_below() -> None:
    [table] = tables(FIGURES)
    assert table.rows == (
        ("dense", "0.7500", "0.8000", "0.9000", "0.7000", "10.0", "20.0", "-", "1,200"),
        ("yardstick: exact search", "0.7500", "0.8000", "0.9000", "0.7000", "-", "-", "-", "1,200"),
        ("sparse", "-", "-", "-", "-", "-", "-", "-", "-"),
        ("hybrid+rerank", "0.7500", "0.8000", "0.9000", "0.7000", "10.0", "20.0", "50.0%", "1,200"),
    )


def test_answers_have_a_row_for_each_share_that_has_questions() -> None:
    hops = {"dense": {"available": True, "questions": 2, "all_in_top_10": 0.5, "failures": {}}}
    table = tables({**FIGURES, "answers": ANSWERS, "multi_hop": hops})[1]
    assert table.rows == (
        ("answerable: a cited sentence holds a gold answer", "50.0%", "2"),
        ("answerable: the answer's text holds a gold answer", "0.0%", "2"),
        ("answerable: wrongly abstained", "50.0%", "2"),
        ("unanswerable: abstained", "100.0%", "1"),
        ("multi-hop: all gold passages in the top 10, dense", "50.0%", "2"),
        ("latency p50, ms", "5.0", "3"),
        ("latency p99, ms", "6.0", "3"),
    )


def test_what_a_model_cost_and_what_was_cited_have_rows_where_there_is_any() -> None:
    usage = {"answers": 2, "llm_calls": 1.5, "input_tokens": 812.4, "output_tokens": 30.0, "cost": 0.00125}
    more = {
        "together": {"questions": 3, "exact_match": 1 / 3, "f1": 0.4},
        "citations": {"citations": 4, "verbatim": 1.0, "judged": 0, "from_judged_documents": None},
        "usage": {**usage, "total_cost": 0.0025, "invented_markers": 1},
        "first_text": {"p50_ms": 3.0, "p99_ms": 4.0, "count": 3},
    }
    rows = tables({**FIGURES, "answers": {**ANSWERS, **more}})[1].rows
    assert rows[4:] == (
        ("both: exact match, an abstention where there is no answer counted as one", "33.3%", "3"),
        ("both: F1, counted so", "40.0%", "3"),
        ("citations: word for word in the document that they name", "100.0%", "4 citations"),
        ("model: requests for an answer", "1.50", "2"),
        ("model: tokens sent for an answer", "812", "2"),
        ("model: tokens received for an answer", "30", "2"),
        ("model: cost of an answer", "0.001250", "2"),
        ("model: invented markers, all answers", "1", "2"),
        ("first text p50, ms", "3.0", "3"),
        ("first text p99, ms", "4.0", "3"),
        ("latency p50, ms", "5.0", "3"),
        ("latency p99, ms", "6.0", "3"),
    )


def test_what_went_wrong_is_said_once() -> None:
    assert notes(FIGURES) == [
        "sparse: mode 'sparse' is not available yet.",
        "hybrid+rerank: searches that failed: 2 timeout.",
    ]
    failed = {"indexed": 3, "failed": 2, "failures": [{"id": "corpus.jsonl:3", "code": "x", "message": "is not JSON"}]}
    hops = {"sparse": FIGURES["retrieval"]["modes"]["sparse"]}
    found = notes({**FIGURES, "ingest": failed, "multi_hop": hops})
    assert found[0] == "2 documents were not indexed, first corpus.jsonl:3: is not JSON."
    assert len(found) == 3


def test_the_title_states_the_sample() -> None:
    assert title(FIGURES) == "facts: 5,183 documents in collection facts-2; 1,200 of 1,200 judged queries."
    sampled = {**FIGURES, "ingest": None, "answers": ANSWERS, "sampling": {"limit": 3, "seed": 7}}
    assert title(sampled).endswith(
        "; 1,200 of 1,200 judged queries, 3 of 10 questions, answered by tiny, sampled with seed 7."
    )


def test_markdown_holds_title_tables_and_notes() -> None:
    lines = markdown(FIGURES).splitlines()
    assert lines[0] == title(FIGURES)
    assert lines[2].startswith("| search | nDCG@10 |")
    assert lines[3].startswith("| --- | ---: |")
    assert lines[4] == "| dense | 0.7500 | 0.8000 | 0.9000 | 0.7000 | 10.0 | 20.0 | - | 1,200 |"
    assert lines[-1] == notes(FIGURES)[-1]


def test_single_results_are_left_out_at_every_depth_and_nothing_else() -> None:
    before = copy.deepcopy(FIGURES)
    kept = without_results({**FIGURES, "answers": ANSWERS})
    assert "per_query" not in str(kept)
    assert "per_question" not in str(kept)
    assert kept["retrieval"]["modes"]["dense"]["metrics"] == METRICS
    assert before == FIGURES
