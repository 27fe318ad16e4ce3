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
from contracts.retrieval import MAX_TEXTS_PER_REQUEST, RetrievedChunk, RetrieveReply
from services.agent.citing import CitedText
from services.agent.deltas import Deltas
from services.agent.events import AnswerEvents
from services.agent.evidence import enough_evidence
from services.agent.llm import ChatMessage, ChatRequest, Completion, ContextTooLong, LanguageModel, Usage
from services.agent.metrics import AgentMetrics
from services.agent.no_answer import NoAnswerGate
from services.agent.packing import context_budget, pack, packed_tokens
from services.agent.patience import Ask
from services.agent.prompts import PROMPT_VERSION, boundary_mark, instructions, question_message
from services.agent.retrieving import vectors
from services.agent.support import supports
from services.agent.writer import nothing_found
from shared.errors import PlatformError
from shared.logs import get_logger

log = get_logger(__name__)

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
        usage = await self._stream(messages, gate, cited, events, deadline)
        if gate.no_answer:
            return (await nothing_found(events)).model_copy(update={"usage": _told(usage)})
        if not cited.citations:
            await events.send_text(_cite_best(cited, passages))
        await events.end_text()
        await self._settle(cited, embedding_model, deadline)
        self._metrics.invented_markers.add(cited.invented)
        citations = cited.citations
        told = {**_told(usage), "invented_markers": cited.invented}
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

    async def _settle(self, cited: CitedText, embedding_model: str, deadline: float | None) -> None:
        """Find the sentences behind claims in other words; without an embedder their words must do."""
        unclear = cited.unclear()
        texts = [text for claim, candidates in unclear for text in (claim, *candidates)]
        if not texts or len(texts) > MAX_TEXTS_PER_REQUEST:
            return
        try:
            found, _ = await vectors(self._ask, texts, embedding_model, deadline)
        except PlatformError as error:
            log.warning("claims_not_compared", error=error.error_code)
            return
        similarities, place = [], 0
        for _, candidates in unclear:
            end = place + 1 + len(candidates)
            similarities.append((found[place + 1 : end] @ found[place]).tolist())
            place = end
        cited.settle(similarities)


def _cite_best(cited: CitedText, passages: Sequence[RetrievedChunk]) -> str:
    """Have an answer without any marker cite the sentence that its words come from, if one clearly does."""
    best = max(
        ((passage, support) for passage in passages for support in supports(cited.text, passage)[:1]),
        key=lambda pair: pair[1].coverage,
    )
    return cited.cite_whole(*best) if best[1].clear else ""


def _told(usage: Usage) -> dict[str, float]:
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "llm_calls": usage.calls,
        "cost": usage.cost,
    }
