"""Judges what the platform answered, with the normalisation of SQuAD's own evaluation script.

Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text", 2016.
"""

import re
import string
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.cli.evaluation.reading import Question

_ARTICLES: Final = re.compile(r"\b(a|an|the)\b")
# What an answer cites with is not part of what it says.
_MARKER: Final = re.compile(r"\[\d+\]")
_PUNCTUATION: Final = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one question; `failure` is the code of an error that came instead of an answer.

    `exact` and `f1` (0 to 1) compare the answer's text with the closest gold answer, as SQuAD's script does.
    """

    abstained: bool
    quote_holds: bool
    answer_holds: bool
    failure: str | None = None
    exact: bool = False
    f1: float = 0.0

    @property
    def answered(self) -> bool:
        """Tell whether there was an answer at all."""
        return not self.abstained and self.failure is None


def normalise(text: str) -> str:
    """Return text in lower case without punctuation, articles and needless whitespace."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def holds_any(text: str, answers: Iterable[str]) -> bool:
    """Tell whether the text holds one of the answers as whole words, both normalised."""
    words = f" {normalise(text)} "
    # Nothing is left of an answer such as "The": it would be held by every text.
    return any(f" {answer} " in words for answer in map(normalise, answers) if answer)


def overlap(text: str, answer: str) -> float:
    """Return F1 (0 to 1) of the words that two texts share, both normalised."""
    said, wanted = normalise(text).split(), normalise(answer).split()
    if not said or not wanted:
        return float(said == wanted)
    shared = (Counter(said) & Counter(wanted)).total()
    return 2 * shared / (len(said) + len(wanted))


def judge(question: Question, reply: dict[str, Any]) -> Verdict:
    """Judge the reply of `POST /v1/query` to a question."""
    if not reply.get("answered"):
        return Verdict(abstained=True, quote_holds=False, answer_holds=False)
    text = _MARKER.sub("", reply.get("answer") or "")
    return Verdict(
        abstained=False,
        quote_holds=any(holds_any(citation["quote"], question.answers) for citation in reply.get("citations", [])),
        answer_holds=holds_any(text, question.answers),
        exact=any(normalise(text) == normalise(answer) for answer in question.answers),
        f1=max((overlap(text, answer) for answer in question.answers), default=0.0),
    )


def failed(code: str) -> Verdict:
    """Return the verdict of a question that got an error: neither answered nor abstained."""
    return Verdict(abstained=False, quote_holds=False, answer_holds=False, failure=code)


def share(count: int, total: int) -> float | None:
    """Return count / total, None where there is nothing to count."""
    return count / total if total else None


def mean(values: Sequence[float]) -> float | None:
    """Return the mean, None without any values."""
    return sum(values) / len(values) if values else None


def summarise_answerable(verdicts: list[Verdict]) -> dict[str, Any]:
    """Return the shares of questions that can be answered."""
    total = len(verdicts)
    return {
        "questions": total,
        "quote_holds_answer": share(sum(verdict.quote_holds for verdict in verdicts), total),
        "answer_holds_answer": share(sum(verdict.answer_holds for verdict in verdicts), total),
        "answered": share(sum(verdict.answered for verdict in verdicts), total),
        "wrongly_abstained": share(sum(verdict.abstained for verdict in verdicts), total),
        "exact_match": share(sum(verdict.exact for verdict in verdicts), total),
        "f1": mean([verdict.f1 for verdict in verdicts]),
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


def summarise_together(answerable: list[Verdict], impossible: list[Verdict]) -> dict[str, Any]:
    """Return exact match and F1 over both groups as SQuAD 2 counts them: a right abstention is a full hit."""
    abstained = [float(verdict.abstained) for verdict in impossible]
    return {
        "questions": len(answerable) + len(impossible),
        "exact_match": mean([*(float(verdict.exact) for verdict in answerable), *abstained]),
        "f1": mean([*(verdict.f1 for verdict in answerable), *abstained]),
    }
