"""The text of an agent's answer: what it cites, and whether it stands on anything.

An answer counts as answered when it

- cites a passage, and a search found enough evidence (`evidence.py`);
- or cites a passage that was read where it stands, and a sentence of it holds the claim by its words or its meaning:
  there is no search whose evidence could be asked for, and the model's word alone is none;
- or states the result of a tool that no passage stands for (`states`). So a pure calculation is answered without any
  citation, and one whose result the model changed is not.
"""

import re
from collections.abc import Sequence
from typing import Final

from contracts.queries import Citation
from contracts.retrieval import RetrievedChunk
from services.agent.agent_mode.loop import Loop, ToolResult
from services.agent.citing import CitedText
from services.agent.coverage import coverage, question_weights, words_of
from services.agent.grounding import cite_best
from services.agent.no_answer import NoAnswerGate
from services.agent.support import CLEAR_SUPPORT

_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)*")
_MARKER: Final = re.compile(r"\s*\[\d+\]")


class FinalText:
    """The text while it is written; `cited` numbers its citations."""

    def __init__(self, passages: Sequence[RetrievedChunk]) -> None:
        self._passages = passages
        self._gate = NoAnswerGate()
        self.cited = CitedText(passages)

    def feed(self, piece: str) -> str:
        """Take a piece of the model's text and return what of it can be shown."""
        return self.cited.feed(self._gate.feed(piece))

    def end(self) -> str:
        """Return what is left to show once the model is done."""
        return self.cited.feed(self._gate.end()) + self.cited.end()

    @property
    def says_nothing(self) -> bool:
        """Tell whether the model said that there is no answer, or nothing at all."""
        return self._gate.no_answer or not self.cited.text.strip()

    def cite_best(self) -> str:
        """Have a text without a marker cite the sentence that its words come from; return what is shown for it."""
        return cite_best(self.cited, self._passages) if self._passages and not self.cited.citations else ""

    @property
    def citations(self) -> list[Citation]:
        """Return the citations."""
        return self.cited.citations

    def supported(self, loop: Loop) -> bool:
        """Tell whether the text stands on what the tools returned."""
        if self.citations and any(result.evidence == "found" for result in loop.results):
            return True
        read = {one.chunk_id for result in loop.results if result.evidence == "read" for one in result.passages}
        if read & self.cited.supporting_chunks:
            return True
        text = _MARKER.sub("", self.cited.text)
        return any(result.evidence == "fact" and states(text, result) for result in loop.results)


def states(text: str, result: ToolResult) -> bool:
    """Tell whether a text states the result of a tool.

    It holds one of the result's statements; where the tool names none, one of its numbers, else most of its words.
    """
    numbers = _numbers(text)
    if result.statements:
        return any(_holds(text, numbers, statement) for statement in result.statements)
    told = _numbers(result.text)
    if told:
        return bool(told & numbers)
    said = words_of(text)
    weights = question_weights(result.text, [said])
    return bool(weights) and coverage(weights, said) >= CLEAR_SUPPORT


def _holds(text: str, numbers: set[str], statement: str) -> bool:
    if _NUMBER.fullmatch(statement.lstrip("-")):
        return bool(_numbers(statement) & numbers)
    return statement.casefold() in text.casefold()


def _numbers(text: str) -> set[str]:
    """Return the numbers of a text without what separates their thousands and without zeros that say nothing."""
    found = set()
    for number in _NUMBER.findall(text):
        plain = number.replace(",", "") if re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", number) else number
        plain = plain.replace(",", ".")
        found.add(plain.rstrip("0").rstrip(".") if "." in plain else plain)
    return found
