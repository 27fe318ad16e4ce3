"""How much evidence an answer needs; the similarities of different embedding models are on different scales."""

import math
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Calibration:
    """What an answer needs: a least score of the best sentence, a least coverage of the question by its passage.

    `least_passage_evidence` is what `evidence.py` asks for before a language model is. `least_claim_evidence` is what
    shows that a claim in other words comes from its passage: nothing does where the scale is not known.
    """

    least_evidence: float
    least_coverage: float
    least_passage_evidence: float = 0.0
    least_claim_evidence: float = math.inf


# The curve is in docs/decisions/0009-extractive-answers.md: 1.14 declines 3 % of the questions that the passages
# answer, 93 % of those whose article is missing and 100 % of those about something else. That of passage evidence is in
# 0026-language-model.md: 0.76 declines 0.5 % of what the passages answer and 100 % of what is about something else.
_BGE_SMALL: Final = Calibration(
    least_evidence=1.14, least_coverage=0.0, least_passage_evidence=0.76, least_claim_evidence=0.76
)
# Nothing is known of the scale, so words alone decide: declines 14 %, 90 % and 97 %. In doubt a model is asked.
_UNKNOWN: Final = Calibration(least_evidence=0.0, least_coverage=0.35, least_passage_evidence=0.15)

_BY_MODEL: Final = {"bge-small-en-v1.5-int8": _BGE_SMALL}


def calibration_of(model: str) -> Calibration:
    """Return the calibration of an embedding model by the beginning of its fingerprint, else one that goes by words."""
    return next((found for name, found in _BY_MODEL.items() if model.startswith(name)), _UNKNOWN)
