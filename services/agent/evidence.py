"""Whether the passages that were found may hold an answer at all, told before a language model is asked.

A passage's evidence is its cosine to the question plus half of the share of the question's content words, weighted by
rarity, that it holds; the best passage counts. It costs no vector beyond the question's own, unlike the extractive
answerer's, which compares sentences; so it declines less, and leaves the rest to the model.
"""

from collections.abc import Sequence
from typing import Final

from contracts.retrieval import RetrievedChunk, RetrieveReply
from services.agent.calibration import calibration_of
from services.agent.coverage import coverage, question_weights, words_of

COVERAGE_WEIGHT: Final = 0.5


def passage_evidence(question: str, passages: Sequence[RetrievedChunk]) -> float:
    """Return the evidence of the best passage; 0 without any."""
    words = [words_of(_around(passage)) for passage in passages]
    weights = question_weights(question, words)
    pairs = zip(passages, words, strict=True)
    return max(
        ((passage.similarity or 0.0) + COVERAGE_WEIGHT * coverage(weights, found) for passage, found in pairs),
        default=0.0,
    )


def enough_evidence(question: str, found: RetrieveReply) -> bool:
    """Tell whether the best passage has the evidence that the calibration of its model asks for."""
    return (
        bool(found.hits)
        and passage_evidence(question, found.hits) >= calibration_of(found.model).least_passage_evidence
    )


def _around(passage: RetrievedChunk) -> str:
    return " ".join(filter(None, (passage.title, *passage.heading_path, passage.text)))
