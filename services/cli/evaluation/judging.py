"""Judges what the platform answered, with the normalisation of SQuAD's own evaluation script.

Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text", 2016.
"""

import re
import string
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from services.cli.evaluation.reading import Question

_ARTICLES: Final = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION: Final = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one question; `failure` is the code of an error that came instead of an answer."""

    abstained: bool
    quote_holds: bool
    answer_holds: bool
    failure: str | None = None


def normalise(text: str) -> str:
    """Return text in lower case without punctuation, articles and needless whitespace."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def holds_any(text: str, answers: Iterable[str]) -> bool:
    """Tell whether the text holds one of the answers as whole words, both normalised."""
    words = f" {normalise(text)} "
    # Nothing is left of an answer such as "The": it would be held by every text.
    return any(f" {answer} " in words for answer in map(normalise, answers) if answer)


def judge(question: Question, reply: dict[str, Any]) -> Verdict:
    """Judge the reply of `POST /v1/query` to a question."""
    if not reply.get("answered"):
        return Verdict(abstained=True, quote_holds=False, answer_holds=False)
    return Verdict(
        abstained=False,
        quote_holds=any(holds_any(citation["quote"], question.answers) for citation in reply.get("citations", [])),
        answer_holds=holds_any(reply.get("answer") or "", question.answers),
    )


def failed(code: str) -> Verdict:
    """Return the verdict of a question that got an error: neither answered nor abstained."""
    return Verdict(abstained=False, quote_holds=False, answer_holds=False, failure=code)


def share(count: int, total: int) -> float | None:
    """Return count / total, None where there is nothing to count."""
    return count / total if total else None


def summarise_answerable(verdicts: list[Verdict]) -> dict[str, Any]:
    """Return the shares of questions that can be answered."""
    total = len(verdicts)
    return {
        "questions": total,
        "quote_holds_answer": share(sum(verdict.quote_holds for verdict in verdicts), total),
        "answer_holds_answer": share(sum(verdict.answer_holds for verdict in verdicts), total),
        "wrongly_abstained": share(sum(verdict.abstained for verdict in verdicts), total),
        "failures": sum(verdict.failure is not None for verdict in verdicts),
    }


def summarise_unanswerable(verdicts: list[Verdict]) -> dict[str, Any]:
    """Return the share of abstentions among questions that can't be answered."""
    total = len(verdicts)
    return {
        "questions": total,
        "abstained": share(sum(verdict.abstained for verdict in verdicts), total),
        "failures": sum(verdict.failure is not None for verdict in verdicts),
    }
