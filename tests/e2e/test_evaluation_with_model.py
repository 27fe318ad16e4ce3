"""`rag eval` against a platform whose answers a language model writes: whose they are, what they cite and cost."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.platform_process import rag, running_platform
from tests.scripted_llm import Reply, Request, ScriptedLlm, scripted_llm

CORPUS = [
    {
        "_id": "lighthouse",
        "title": "Lighthouse",
        "text": "The lighthouse of Ostra was built in 1891 by the engineer Hilda Brandt.",
    },
    {
        "_id": "bakery",
        "title": "Bakery",
        "text": "The bakery in Mill Street sells rye bread baked with caraway seeds.",
    },
]
pytestmark = [pytest.mark.slow, pytest.mark.extended, pytest.mark.timeout(180)]

QUESTIONS = [
    {
        "id": "a",
        "question": "Who built the lighthouse of Ostra?",
        "answers": ["Hilda Brandt"],
        "context_id": "lighthouse",
    },
    {
        "id": "b",
        "question": "What bread does the bakery in Mill Street sell?",
        "answers": ["rye bread"],
        "context_id": "lighthouse",
    },
    {"id": "c", "question": "Which parliament ratified the treaty on fishing quotas?", "is_impossible": True},
]


def answer(request: Request) -> Reply:
    """Answer in as many words as it needs, or in those of the document and with a marker that is invented."""
    question = request["messages"][-1]["content"].rpartition("Question: ")[2]
    if "lighthouse" in question:
        return Reply(text="Hilda Brandt [1].", usage=(200, 4))
    return Reply(text="The bakery in Mill Street sells rye bread baked with caraway seeds [1][9].", usage=(300, 16))


@pytest.fixture(scope="module")
def endpoint() -> Iterator[ScriptedLlm]:
    with scripted_llm() as running:
        running.default = answer
        yield running


@pytest.fixture(scope="module")
def figures(endpoint: ScriptedLlm, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The answers' figures of one run."""
    folder: Path = tmp_path_factory.mktemp("evaluation") / "facts"
    folder.mkdir()
    for name, rows in (("corpus", CORPUS), ("qa", QUESTIONS)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {"RAG_LLM_BASE_URL": endpoint.url, "RAG_LLM_MODEL": "scripted", "RAG_LLM_INPUT_PRICE": "2"}
    with running_platform(tmp_path_factory.mktemp("platform"), **settings) as platform:
        done = rag("eval", str(folder), "--json", url=platform.url)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["answers"]
    return found


def test_the_figures_say_who_answered(figures: dict[str, Any]) -> None:
    assert figures["answerer"] == "scripted"


def test_answers_are_compared_with_the_gold_ones_word_by_word(figures: dict[str, Any]) -> None:
    answerable = figures["answerable"]
    assert (answerable["answered"], answerable["exact_match"]) == (1.0, 0.5)
    # Two of eleven words are the gold answer's: bakery in mill street sells rye bread baked with caraway seeds.
    assert answerable["f1"] == pytest.approx((1.0 + 2 * 2 / (11 + 2)) / 2)
    assert figures["impossible"]["abstained"] == 1.0
    assert figures["together"]["exact_match"] == pytest.approx(2 / 3)


def test_citations_are_verbatim_and_judged_by_their_document(figures: dict[str, Any]) -> None:
    citations = figures["citations"]
    assert citations["citations"] >= 2
    assert citations["verbatim"] == 1.0
    # The second question's judgement names another document than the one that was cited.
    assert citations["from_judged_documents"] == pytest.approx(0.5)


def test_what_the_model_took_is_counted_for_those_questions_that_reached_it(
    figures: dict[str, Any], endpoint: ScriptedLlm
) -> None:
    usage = figures["usage"]
    assert usage["answers"] == len(endpoint.requests) == 2
    assert (usage["input_tokens"], usage["output_tokens"]) == (250.0, 10.0)
    assert usage["total_cost"] == pytest.approx(500 * 2 / 1_000_000)
    assert usage["invented_markers"] == 1


def test_the_first_text_comes_no_later_than_the_whole_answer(figures: dict[str, Any]) -> None:
    assert 0 < figures["first_text"]["p50_ms"] <= figures["latency"]["p50_ms"]
