"""Answering from the documents' own sentences, or not at all.

1. The passages that were found are split into sentences.
2. A sentence's score is similarity + 0.5 * passage similarity + 0.5 * coverage: the cosine between question and
   sentence, the cosine between question and passage, and the share of the question's content words, weighted by
   rarity, that the sentence holds.
3. A sentence's vector is the costly part, so only the sentences that score best without it get one.
4. The best score is the evidence. Below what the model's calibration asks for, there is no answer.
5. Otherwise the best sentence is the answer, with up to two more that score nearly as well.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from contracts.retrieval import RetrievedChunk
from services.agent.calibration import Calibration
from services.agent.coverage import Words, coverage, question_weights, words_of
from services.agent.sentences import Sentence, split_sentences

# Weights from 0.3 to 1 choose equally well. The margin finds 12 more gold sentences in 100 for 0.9 more an answer.
PASSAGE_WEIGHT: Final = 0.5
COVERAGE_WEIGHT: Final = 0.5
SCORE_MARGIN: Final = 0.15
MAX_SENTENCES: Final = 3
# A title is there to name the subject; a long one would push the sentence out of the model's window.
MAX_TITLE_CHARACTERS: Final = 120


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence that may answer; `support` is its score without its own similarity."""

    chunk: RetrievedChunk
    sentence: Sentence
    support: float
    passage_coverage: float

    @property
    def embedded_text(self) -> str:
        """Return the sentence under its document's title, which often names what the sentence calls `it`."""
        title = (self.chunk.title or "")[:MAX_TITLE_CHARACTERS]
        return f"{title}: {self.sentence.scored_text}" if title else self.sentence.scored_text


@dataclass(frozen=True, slots=True)
class Selection:
    """The sentences that answer, best first (none = no answer), and the score of the best one."""

    candidates: tuple[Candidate, ...]
    evidence: float = 0.0


@dataclass(frozen=True, slots=True)
class _Passage:
    chunk: RetrievedChunk
    sentences: list[tuple[Sentence, Words]]
    words: Words


def candidates(question: str, chunks: Sequence[RetrievedChunk], *, limit: int) -> list[Candidate]:
    """Return the `limit` most promising sentences of the passages, best first; one that repeats comes once."""
    passages = [_passage(chunk) for chunk in chunks]
    weights = question_weights(question, [passage.words for passage in passages])
    asked = " ".join(question.casefold().split())
    found: dict[str, Candidate] = {}
    for passage in passages:
        for candidate in _candidates_in(passage, weights):
            said = " ".join(candidate.sentence.text.split())
            # Nothing fits a question as well as the question itself, wherever somebody wrote it down. Keywords, which
            # carry no question mark, may well stand in their answer.
            if not (asked.endswith("?") and asked in said.casefold()):
                found.setdefault(said, candidate)
    return sorted(found.values(), key=lambda candidate: -candidate.support)[:limit]


def select(ranked: Sequence[Candidate], similarities: Sequence[float], calibration: Calibration) -> Selection:
    """Return the sentences that answer, given the cosine of each candidate to the question."""
    pairs = zip(ranked, similarities, strict=True)
    scored = [(candidate.support + similarity, candidate) for candidate, similarity in pairs]
    scored.sort(key=lambda pair: -pair[0])
    if not scored:
        return Selection(())
    evidence, best = scored[0]
    if evidence < calibration.least_evidence or best.passage_coverage < calibration.least_coverage:
        return Selection((), evidence)
    close = [candidate for score, candidate in scored[:MAX_SENTENCES] if score >= evidence - SCORE_MARGIN]
    return Selection(tuple(close), evidence)


def _passage(chunk: RetrievedChunk) -> _Passage:
    sentences = [
        (sentence, words_of(sentence.scored_text)) for sentence in split_sentences(chunk.text, chunk.heading_path)
    ]
    around = words_of(" ".join(filter(None, (chunk.title, *chunk.heading_path))))
    return _Passage(chunk, sentences, around.union(*(found for _, found in sentences)))


def _candidates_in(passage: _Passage, weights: dict[str, float]) -> Iterator[Candidate]:
    passage_coverage = coverage(weights, passage.words)
    for sentence, found in passage.sentences:
        support = PASSAGE_WEIGHT * (passage.chunk.similarity or 0.0) + COVERAGE_WEIGHT * coverage(weights, found)
        yield Candidate(passage.chunk, sentence, support, passage_coverage)
