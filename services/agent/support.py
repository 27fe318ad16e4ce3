"""Which sentence of a passage supports a claim.

Words decide where they can: a sentence that holds most of what the claim says, weighted by how rare the words are in
the passage. A claim in other words is compared by vectors, all claims of an answer in one request.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from contracts.retrieval import RetrievedChunk
from services.agent.coverage import coverage, question_weights, words_of
from services.agent.sentences import Sentence, split_sentences

# A sentence that holds this share of a claim's weight is the one it was taken from.
CLEAR_SUPPORT: Final = 0.6
MAX_COMPARED_SENTENCES: Final = 6
# A claim begins at most this far in front of its marker.
_CLAIM_CHARACTERS: Final = 600


@dataclass(frozen=True, slots=True)
class Support:
    """A sentence that may support a claim, and the share of the claim (0 to 1) that its words cover."""

    sentence: Sentence
    coverage: float

    @property
    def clear(self) -> bool:
        """Tell whether words alone show that the claim comes from here."""
        return self.coverage >= CLEAR_SUPPORT


def claim_before(text: str) -> str:
    """Return the last sentence of the text in front of a marker."""
    sentences = split_sentences(text[-_CLAIM_CHARACTERS:])
    return sentences[-1].text if sentences else text[-_CLAIM_CHARACTERS:].strip()


def supports(claim: str, passage: RetrievedChunk) -> list[Support]:
    """Return a passage's sentences, the one whose words cover most of the claim first; a passage without any is one."""
    sentences = split_sentences(passage.text, passage.heading_path) or [Sentence(passage.text, 0, len(passage.text))]
    words = [words_of(sentence.scored_text) for sentence in sentences]
    weights = question_weights(claim, words)
    found = [Support(sentence, coverage(weights, present)) for sentence, present in zip(sentences, words, strict=True)]
    return sorted(found, key=lambda support: -support.coverage)


def closest(candidates: Sequence[Support], similarities: Sequence[float]) -> Support:
    """Return the candidate that fits best by words and by meaning together."""
    pairs = zip(candidates, similarities, strict=True)
    return max(pairs, key=lambda pair: pair[0].coverage + pair[1])[0]
