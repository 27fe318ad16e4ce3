"""How rankings of documents are made and measured."""

import math
import sys

import pytest

from services.cli.errors import CommandError
from services.cli.evaluation.ranking import average, finds_all, measure, rank_documents, with_relevant


def test_a_document_stands_where_its_best_chunk_stands() -> None:
    assert rank_documents(["b", "a", "b", "c", "a"], "q", {}) == ["b", "a", "c"]


def test_the_query_itself_is_no_hit_unless_it_is_judged() -> None:
    assert rank_documents(["q", "a"], "q", {"a": 1}) == ["a"]
    assert rank_documents(["q", "a"], "q", {"q": 1}) == ["q", "a"]


def test_only_queries_with_a_text_and_a_relevant_document_can_be_measured() -> None:
    judgements = {"a": {"d": 1}, "no text": {"d": 1}, "nothing relevant": {"d": 0}}
    assert with_relevant(judgements, {"a": "x", "nothing relevant": "y", "not judged": "z"}) == {"a": {"d": 1}}


@pytest.mark.parametrize(
    ("ranking", "values"),
    [
        (["r1", "r2"], (1.0, 1.0, 1.0, 1.0)),
        (["x", "r1"], (1 / math.log2(3) / (1 + 1 / math.log2(3)), 0.5, 0.5, 0.5)),
        ([f"x{place}" for place in range(10)] + ["r1", "r2"], (0.0, 0.0, 1.0, 0.0)),
        ([f"x{place}" for place in range(100)] + ["r1"], (0.0, 0.0, 0.0, 0.0)),
        ([], (0.0, 0.0, 0.0, 0.0)),
    ],
)
def test_the_measures_are_those_of_trec_eval(ranking: list[str], values: tuple[float, ...]) -> None:
    measured = measure({"q": {"r1": 1, "r2": 1}}, {"q": ranking})
    names = ("ndcg_at_10", "recall_at_10", "recall_at_100", "mrr_at_10")
    assert measured["q"] == pytest.approx(dict(zip(names, values, strict=True)))


def test_a_query_without_a_ranking_counts_as_nothing_found() -> None:
    measured = measure({"a": {"d": 1}, "b": {"d": 1}}, {"a": ["d"]})
    assert average(measured) == {"ndcg_at_10": 0.5, "recall_at_10": 0.5, "recall_at_100": 0.5, "mrr_at_10": 0.5}


def test_without_the_library_the_command_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ir_measures", None)
    with pytest.raises(CommandError, match="ir-measures, which is not installed"):
        measure({"a": {"d": 1}}, {"a": ["d"]})


def test_all_gold_documents_have_to_be_there() -> None:
    assert finds_all(["x", "b", "a"], ("a", "b"))
    assert not finds_all(["x", "b"], ("a", "b"))
