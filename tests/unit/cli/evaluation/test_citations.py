"""What answers cite, judged."""

import json
from pathlib import Path

from services.cli.evaluation.citations import Cited, check, summarise_citations, texts_of
from services.cli.evaluation.reading import Question
from services.cli.evaluation.spending import summarise_usage

WHO = Question("a", "Who?", ("Holm",), impossible=False, supporting_ids=("harbour",))
UNJUDGED = Question("b", "Who?", ("Holm",), impossible=False, supporting_ids=())
TEXTS = {"harbour": "Harbour It opened in 1887. Greta Holm built it.", "bakery": "Bakery Rye is popular."}


def citation(document_id: str, quote: str) -> dict[str, str]:
    return {"document_id": f"set/{document_id}", "quote": quote}


def test_texts_are_read_only_of_the_documents_that_are_asked_for(tmp_path: Path) -> None:
    rows = [{"_id": "harbour", "title": "Harbour", "text": "It  opened\nin 1887."}, {"_id": "other", "text": "x"}]
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert texts_of(corpus, ["harbour", "gone"]) == {"harbour": "Harbour It opened in 1887."}


def test_a_citation_is_verbatim_only_in_the_document_that_it_names() -> None:
    given = [
        citation("harbour", "Greta Holm\nbuilt it."),
        citation("bakery", "Greta Holm built it."),
        citation("harbour", "Greta Holm made it."),
        citation("nowhere", "Rye is popular."),
    ]
    assert check(WHO, given, TEXTS, "set/") == Cited(citations=4, verbatim=1, judged=4, right=2)


def test_where_nothing_is_judged_no_citation_is_wrong() -> None:
    given = [citation("bakery", "Rye is popular.")]
    assert check(UNJUDGED, given, TEXTS, "set/") == Cited(citations=1, verbatim=1, judged=0, right=0)
    assert check(WHO, [], TEXTS, "set/") == Cited(0, 0, 0, 0)


def test_shares_are_of_citations_and_none_without_any() -> None:
    assert summarise_citations([Cited(4, 1, 4, 2), Cited(1, 1, 0, 0)]) == {
        "citations": 5,
        "verbatim": 0.4,
        "judged": 4,
        "from_judged_documents": 0.5,
    }
    assert summarise_citations([])["verbatim"] is None


def test_only_answers_that_a_model_was_asked_for_cost_anything() -> None:
    asked = {"llm_calls": 1, "input_tokens": 100, "output_tokens": 10, "cost": 0.5}
    found = summarise_usage([asked, {**asked, "output_tokens": 30, "invented_markers": 2}, {}])
    assert found == {
        "answers": 2,
        "llm_calls": 1.0,
        "input_tokens": 100.0,
        "output_tokens": 20.0,
        "cost": 0.5,
        "total_cost": 1.0,
        "invented_markers": 2,
    }
    assert summarise_usage([{}, {"llm_calls": 0}]) is None
