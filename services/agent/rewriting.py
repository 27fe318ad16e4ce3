"""Rewriting a follow-up question so that it stands alone: with a language model, or by rule without one."""

import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final, Protocol

from contracts.conversations import PastTurn
from services.agent.follow_ups import stand_alone
from services.agent.history import trim
from services.agent.llm import ChatMessage, ChatRequest, Completion, LanguageModel, LlmUnavailable, Usage
from services.agent.packing import context_budget
from services.agent.prompts import boundary_mark
from services.agent.rewrite_prompt import REWRITE_VERSION, rewrite_instructions, rewrite_request

# A question that grows by more than this was answered or explained, not rewritten.
MAX_ADDED_CHARACTERS: Final = 600
_QUOTES: Final = "\"'\u201c\u201d\u2018\u2019`"
_LABELS: Final = ("last question:", "question:", "rewritten question:", "stand-alone question:", "standalone question:")


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A question that stands alone, and what it cost to find."""

    question: str
    usage: Usage = field(default_factory=Usage)


class Rewriter(Protocol):
    """Rewrites follow-up questions.

    `for_search_only` tells that passages are found by the rewritten question, and the answer picked by the original
    one: sentences say `it` as questions do, and the words put in its place would lead back to what was said before.
    """

    @property
    def for_search_only(self) -> bool:
        """Tell what the rewritten question is for."""
        ...

    async def rewrite(
        self, question: str, turns: Sequence[PastTurn], query_id: str, deadline: float | None
    ) -> Rewritten:
        """Return the question as it stands without the turns before it; raises shared.errors when that fails."""
        ...


class RuleRewriter:
    """A `Rewriter` that goes by the words of the last turn; it never fails."""

    for_search_only = True

    async def rewrite(
        self, question: str, turns: Sequence[PastTurn], query_id: str, deadline: float | None
    ) -> Rewritten:
        """Return the question; see `Rewriter`."""
        return Rewritten(stand_alone(question, turns[-1]) if turns else question)


@dataclass(frozen=True, slots=True)
class RewriteLimits:
    """What one rewriting may cost: tokens of history and of the reply, and seconds."""

    history_tokens: int
    output_tokens: int
    seconds: float


class ModelRewriter:
    """A `Rewriter` with one call to a language model."""

    for_search_only = False

    def __init__(self, model: LanguageModel, limits: RewriteLimits) -> None:
        self._model = model
        self._limits = limits

    async def rewrite(
        self, question: str, turns: Sequence[PastTurn], query_id: str, deadline: float | None
    ) -> Rewritten:
        """Return the question; see `Rewriter`. A reply that is no question of this size raises LlmUnavailable."""
        mark = boundary_mark(query_id)
        rules = rewrite_instructions(mark)
        kept = trim(turns, budget_tokens=self._room(question, rules, mark), count_tokens=self._model.count_tokens)
        if not kept:
            return Rewritten(question)
        request = ChatRequest(
            messages=[rules, rewrite_request(question, kept, mark)],
            max_output_tokens=self._limits.output_tokens,
            prompt_version=REWRITE_VERSION,
        )
        until = min(time.time() + self._limits.seconds, deadline or float("inf"))
        said = await self._ask(request, until)
        found = _question_in(said.text)
        if said.finish != "stop" or not found or len(found) > len(question) + MAX_ADDED_CHARACTERS:
            raise LlmUnavailable("the language model did not reply with a question", transient=False)
        return Rewritten(found, said.usage)

    def _room(self, question: str, rules: ChatMessage, mark: str) -> int:
        frame = rewrite_request(question, (), mark).content
        spent = self._model.count_tokens(rules.content) + self._model.count_tokens(frame)
        window = context_budget(self._model.window_tokens, self._limits.output_tokens, spent)
        return min(self._limits.history_tokens, window)

    async def _ask(self, request: ChatRequest, deadline: float) -> Completion:
        async with aclosing(self._model.stream(request, deadline=deadline)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Completion):
                    return piece
        raise LlmUnavailable("the language model broke off", transient=False)


def _question_in(text: str) -> str:
    """Return the reply as one line, without the quotes and labels that small models put around it."""
    line = " ".join(text.split())
    label = next((label for label in _LABELS if line.lower().startswith(label)), "")
    return line[len(label) :].strip().strip(_QUOTES).strip()
