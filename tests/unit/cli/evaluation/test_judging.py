"""What counts as an answer that holds the gold answer."""

from typing import Any

import pytest

from services.cli.evaluation.judging import (
    Verdict,
    failed,
    holds_any,
    judge,
    normalise,
    summarise_answerable,
    summarise_together,
    summarise_unanswerable,
)
from services.cli.evaluation.reading import Question

WHEN = Question("a", "When?", ("October 1973", "1973"), impossible=False, supporting_ids=())


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The  Moon,\n an  orb!", "moon orb"),
        ("$12.50", "1250"),
        ("Theatre and Atheist", "theatre and atheist"),
        ("the", ""),
    ],
)
def test_text_is_normalised_as_squad_does(text: str, normal: str) -> None:
    assert normalise(text) == normal


@pytest.mark.parametrize(
    ("text", "answers", "held"),
    [
        ("It began in October of 1973.", ("October 1973", "1973"), True),
        ("It began in OCTOBER, 1973.", ("october 1973",), True),
        ("There are 19734 of them.", ("1973",), False),
        ("The Norman conquest", ("no",), False),
        ("Signed by the Norman", ("a Norman",), True),
        ("Anything at all", ("the",), False),
        ("Anything at all", (), False),
        ("", ("1973",), False),
    ],
)
def test_an_answer_is_held_as_whole_words(text: str, answers: tuple[str, ...], held: bool) -> None:
    assert holds_any(text, answers) is held


def reply(answer: str, *quotes: str) -> dict[str, Any]:
    return {"answered": True, "answer": answer, "citations": [{"quote": quote} for quote in quotes]}


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        (reply("In 1973 [1].", "It began in 1973."), Verdict(False, quote_holds=True, answer_holds=True, f1=2 / 3)),
        (reply("The 1973 [1].", "In 1973."), Verdict(False, True, True, exact=True, f1=1.0)),
        (reply("October 1973, it seems [1]."), Verdict(False, False, True, f1=2 / 3)),
        (reply("Long ago [1][2].", "Long ago.", "In 1973."), Verdict(False, quote_holds=True, answer_holds=False)),
        (reply("In 1973."), Verdict(False, quote_holds=False, answer_holds=True, f1=2 / 3)),
        # An answer goes on over two quotes for nobody who reads them one by one.
        (reply("x", "in October", "1974 and"), Verdict(False, quote_holds=False, answer_holds=False)),
        ({"answered": False, "answer": "1973", "citations": []}, Verdict(True, False, False)),
    ],
)
def test_quotes_and_text_are_judged_apart(given: dict[str, Any], verdict: Verdict) -> None:
    assert judge(WHEN, given) == verdict


RIGHT, WRONG = Verdict(False, True, True, exact=True, f1=1.0), Verdict(False, False, False, f1=0.2)
ABSTAINED = Verdict(True, False, False)


def test_shares_are_of_all_questions_and_an_error_is_neither_answer_nor_abstention() -> None:
    verdicts = [RIGHT, WRONG, ABSTAINED, failed("timeout")]
    assert summarise_answerable(verdicts) == {
        "questions": 4,
        "quote_holds_answer": 0.25,
        "answer_holds_answer": 0.25,
        "answered": 0.5,
        "exact_match": 0.25,
        "f1": pytest.approx(0.3),
        "wrongly_abstained": 0.25,
        "failures": 1,
    }
    assert summarise_unanswerable(verdicts) == {"questions": 4, "abstained": 0.25, "failures": 1}


def test_a_group_without_questions_has_no_share() -> None:
    assert summarise_unanswerable([]) == {"questions": 0, "abstained": None, "failures": 0}
    assert summarise_answerable([])["quote_holds_answer"] is None


def test_a_right_abstention_counts_as_a_full_hit_where_both_groups_are_taken_together() -> None:
    together = summarise_together([RIGHT, WRONG], [ABSTAINED, WRONG, failed("timeout")])
    assert together == {"questions": 5, "exact_match": pytest.approx(0.4), "f1": pytest.approx(0.44)}
