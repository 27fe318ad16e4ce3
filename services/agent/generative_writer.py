"""Answers that a language model writes from passages, every claim with the sentence that supports it.

1. Weak evidence in the passages means no answer; the model is not even asked.
2. As many passages as fit go into the prompt. When the endpoint still finds it too long, fewer do.
3. What the model writes is shown while it comes; its markers become citations (`citing.py`).
4. An answer that cites nothing gets the sentence that supports it, or does not count as answered.
"""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from contracts.queries import Answer, AskQuestion
from contracts.retrieval import RetrievedChunk, RetrieveReply
from services.agent.citing import CitedText
from services.agent.deltas import Deltas
from services.agent.events import AnswerEvents
from services.agent.evidence import enough_evidence
from services.agent.grounding import cite_best, settle
from services.agent.llm import ChatMessage, ChatRequest, Completion, ContextTooLong, LanguageModel, Usage
from services.agent.metrics import AgentMetrics
from services.agent.no_answer import NoAnswerGate
from services.agent.packing import context_budget, pack, packed_tokens
from services.agent.patience import Ask
from services.agent.prompts import PROMPT_VERSION, boundary_mark, instructions, question_message
from services.agent.writer import nothing_found

# Each time the endpoint finds the request too long, this part of what its passages took up stays.
SHRINK: Final = 0.6
MAX_SHRINKS: Final = 3


@dataclass(frozen=True, slots=True)
class WritingLimits:
    """What one answer may cost; tokens, and seconds between two pieces sent to the caller."""

    max_output_tokens: int
    temperature: float
    delta_seconds: float


class GenerativeWriter:
    """A `Writer` with a language model; `ask` reaches the embedder."""

    def __init__(self, model: LanguageModel, ask: Ask, metrics: AgentMetrics, limits: WritingLimits) -> None:
        self._model, self._ask, self._metrics, self._limits = model, ask, metrics, limits

    @property
    def name(self) -> str:
        """Return the model's name."""
        return self._model.name

    async def write(
        self, question: AskQuestion, found: RetrieveReply, events: AnswerEvents, deadline: float | None
    ) -> Answer:
        """Return the answer after sending its text; see `Writer`."""
        if not enough_evidence(question.question, found):
            return await nothing_found(events)
        mark = boundary_mark(question.query_id)
        room = self._room(question.question, mark)
        for _ in range(MAX_SHRINKS):
            passages = pack(found.hits, mark, budget_tokens=room, count_tokens=self._model.count_tokens)
            if not passages:
                break
            try:
                return await self._write(question.question, passages, mark, found.model, events, deadline)
            except ContextTooLong:
                room = int(packed_tokens(passages, mark, self._model.count_tokens) * SHRINK)
        raise ContextTooLong(f"no passage fits into the window of {self._model.name} beside the question")

    def _room(self, question: str, mark: str) -> int:
        spent = self._model.count_tokens(instructions(mark).content) + self._model.count_tokens(question)
        return context_budget(self._model.window_tokens, self._limits.max_output_tokens, spent)

    async def _write(
        self,
        question: str,
        passages: Sequence[RetrievedChunk],
        mark: str,
        embedding_model: str,
        events: AnswerEvents,
        deadline: float | None,
    ) -> Answer:
        messages = [instructions(mark), question_message(question, passages, mark)]
        gate, cited = NoAnswerGate(), CitedText(passages)
        with events.waiting_for_model():
            usage = await self._stream(messages, gate, cited, events, deadline)
        if gate.no_answer:
            return (await nothing_found(events)).model_copy(update={"usage": usage.told()})
        if not cited.citations:
            await events.send_text(cite_best(cited, passages))
        await events.end_text()
        await settle(cited, self._ask, embedding_model, deadline)
        self._metrics.invented_markers.add(cited.invented)
        citations = cited.citations
        told = {**usage.told(), "invented_markers": cited.invented}
        return Answer(answer=cited.text, answered=bool(citations), citations=citations, usage=told)

    async def _stream(
        self,
        messages: Sequence[ChatMessage],
        gate: NoAnswerGate,
        cited: CitedText,
        events: AnswerEvents,
        deadline: float | None,
    ) -> Usage:
        request = ChatRequest(
            messages,
            max_output_tokens=self._limits.max_output_tokens,
            temperature=self._limits.temperature,
            prompt_version=PROMPT_VERSION,
        )
        usage = Usage()
        async with Deltas(events.send_text, interval_seconds=self._limits.delta_seconds) as deltas:
            async with aclosing(self._model.stream(request, deadline=deadline)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Completion):
                        usage = piece.usage
                    else:
                        deltas.add(cited.feed(gate.feed(piece)))
            deltas.add(cited.feed(gate.end()))
            deltas.add(cited.end())
        return usage
