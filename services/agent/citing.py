"""Turning the model's markers into citations that hold.

Each marker becomes a number of its own for each sentence it points at, counted from 1 in the order of reading, so that
every number has one quote. Markers that point at no passage are dropped and counted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from contracts.queries import Citation
from contracts.retrieval import RetrievedChunk
from services.agent.evidence import COVERAGE_WEIGHT
from services.agent.markers import Marker, MarkerReader
from services.agent.sources import citation_of
from services.agent.support import MAX_COMPARED_SENTENCES, Support, claim_before, closest, supports


@dataclass(slots=True)
class _Cited:
    number: int
    passage: RetrievedChunk
    claim: str
    candidates: list[Support]
    close: bool = False

    @property
    def open(self) -> bool:
        """Tell whether words did not show which sentence it is."""
        return not self.candidates[0].clear and len(self.candidates) > 1


class CitedText:
    """The text of one answer while it is written; `text` is what the caller has been given so far."""

    def __init__(self, passages: Sequence[RetrievedChunk]) -> None:
        self._passages = passages
        self._reader = MarkerReader()
        self._cited: list[_Cited] = []
        self._claims = ""
        self._space = ""
        self.text = ""
        self.invented = 0

    def feed(self, piece: str) -> str:
        """Take a piece of the model's text and return what of it can be shown."""
        return self._show("".join(self._shown(self._reader.feed(piece))))

    def end(self) -> str:
        """Return what is left to show once the model is done."""
        held = self._reader.end()
        self._claims += held
        return self._show(held)

    def cite_whole(self, passage: RetrievedChunk, support: Support) -> str:
        """Have the text as a whole cite a sentence; return the marker that is shown for it."""
        number = self._number(passage, self._claims.strip(), [support])
        return self._show(f" [{number}]")

    def unclear(self) -> list[tuple[str, list[str]]]:
        """Return the claims whose sentence is not clear, each with the texts it may be compared with."""
        return [(one.claim, [item.sentence.scored_text for item in one.candidates]) for one in self._cited if one.open]

    def settle(self, similarities: Sequence[Sequence[float]], least_evidence: float) -> None:
        """Choose the sentences of what `unclear` returned, by the similarity of each claim to its candidates.

        A claim whose best sentence has `least_evidence` (`evidence.py`) is close enough to come from its passage.
        """
        waiting = [one for one in self._cited if one.open]
        for one, found in zip(waiting, similarities, strict=True):
            evidence = [
                likeness + COVERAGE_WEIGHT * item.coverage for likeness, item in zip(found, one.candidates, strict=True)
            ]
            one.close = max(evidence) >= least_evidence
            one.candidates = [closest(one.candidates, found)]

    @property
    def supporting_chunks(self) -> set[str]:
        """Return the ids of the chunks that hold a claim which cites them, by its words or by its meaning."""
        return {one.passage.chunk_id for one in self._cited if one.candidates[0].clear or one.close}

    @property
    def citations(self) -> list[Citation]:
        """Return the citations in the order of their numbers; each quote is verbatim from its chunk."""
        return [citation_of(one.number, one.passage, one.candidates[0].sentence.text) for one in self._cited]

    def _show(self, text: str) -> str:
        self.text += text
        return text

    def _shown(self, parts: Iterator[str | Marker]) -> Iterator[str]:
        for part in parts:
            if isinstance(part, str):
                self._claims += part
                self._space = ""
                yield part
                continue
            # A marker that is dropped leaves its space to the one behind it.
            space = part.space or self._space
            numbers = self._numbers(part)
            self._space = "" if numbers else space
            if numbers:
                yield space + "".join(f"[{number}]" for number in numbers)

    def _numbers(self, marker: Marker) -> list[int]:
        numbers: list[int] = []
        claim = claim_before(self._claims)
        for wanted in marker.numbers:
            if not 1 <= wanted <= len(self._passages):
                self.invented += 1
                continue
            passage = self._passages[wanted - 1]
            number = self._number(passage, claim, supports(claim, passage)[:MAX_COMPARED_SENTENCES])
            if number not in numbers:
                numbers.append(number)
        return numbers

    def _number(self, passage: RetrievedChunk, claim: str, candidates: list[Support]) -> int:
        for one in self._cited:
            if one.passage.chunk_id != passage.chunk_id:
                continue
            if one.claim == claim or (not one.open and one.candidates[0].sentence == candidates[0].sentence):
                return one.number
        number = len(self._cited) + 1
        self._cited.append(_Cited(number, passage, claim, candidates))
        return number
