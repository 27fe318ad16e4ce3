"""Answers that are sentences of the documents, word for word; needs no language model."""

from collections.abc import Sequence

from contracts.queries import Answer, AskQuestion
from contracts.retrieval import RetrieveReply
from services.agent.calibration import calibration_of
from services.agent.events import AnswerEvents
from services.agent.extractive import Candidate, candidates, select
from services.agent.patience import Ask
from services.agent.retrieving import vectors
from services.agent.sources import citation_of
from services.agent.writer import nothing_found


class ExtractiveWriter:
    """A `Writer` that picks sentences; the same question over the same documents gets the same answer."""

    name = "extractive"

    def __init__(self, ask: Ask, *, max_embedded_sentences: int) -> None:
        self._ask = ask
        self._max_embedded_sentences = max_embedded_sentences

    async def write(
        self, question: AskQuestion, found: RetrieveReply, events: AnswerEvents, deadline: float | None
    ) -> Answer:
        """Return the answer after sending its text; see `Writer`."""
        chosen = await self._select(question.question, found, deadline)
        if not chosen:
            return await nothing_found(events)
        answer = _answer(chosen)
        await events.send_text(answer.answer)
        await events.end_text()
        return answer

    async def _select(self, question: str, found: RetrieveReply, deadline: float | None) -> Sequence[Candidate]:
        ranked = candidates(question, found.hits, limit=self._max_embedded_sentences)
        if not ranked:
            return ()
        texts = [question, *(candidate.embedded_text for candidate in ranked)]
        found_vectors, model = await vectors(self._ask, texts, found.model, deadline)
        similarities: list[float] = (found_vectors[1:] @ found_vectors[0]).tolist()
        return select(ranked, similarities, calibration_of(model)).candidates


def _answer(chosen: Sequence[Candidate]) -> Answer:
    sentences = [f"{' '.join(candidate.sentence.text.split())} [{n}]" for n, candidate in enumerate(chosen, 1)]
    citations = [citation_of(n, candidate.chunk, candidate.sentence.text) for n, candidate in enumerate(chosen, 1)]
    return Answer(answer=" ".join(sentences), answered=True, citations=citations)
