"""Answering a question with tools: what the loop asks for is done, kept, and told to the caller.

Each thing is kept before it is told: what the caller knows of, an agent that takes over knows too.

Text of the model is passed on while it comes once there is something that an answer may stand on; before that it is
held until its turn ends, and goes unsaid when that turn calls tools. Text that was passed on and turns out to precede
calls is taken back by a `step` event `restarted`.
"""

import time
from dataclasses import dataclass
from typing import Final

from opentelemetry.trace import Tracer

from contracts.queries import Answer, AskQuestion
from services.agent.agent_mode.checkpoints import Checkpoints
from services.agent.agent_mode.dialect import DialectChoice
from services.agent.agent_mode.loop import Limits, Loop
from services.agent.agent_mode.run import Run
from services.agent.agent_mode.toolbox import Toolbox
from services.agent.events import AnswerEvents
from services.agent.llm import LanguageModel
from services.agent.metrics import AgentMetrics
from services.agent.patience import Ask
from shared import semantics
from shared.telemetry import span

# Rather too many tokens than too few, as in `tokens.py`.
BYTES_PER_TOKEN: Final = 3


@dataclass(frozen=True, slots=True)
class AgentLimits:
    """What one answer may cost, and how its parts are bounded.

    Tokens of one request's output, seconds of one tool call and between two pieces of text, calls of one turn.
    """

    budgets: Limits
    max_output_tokens: int
    temperature: float
    delta_seconds: float
    calls_per_turn: int
    tool_seconds: float
    result_bytes: int

    @property
    def growth_tokens(self) -> int:
        """Return about how many tokens the results of one turn may add to the next request."""
        return self.calls_per_turn * self.result_bytes // BYTES_PER_TOKEN


@dataclass(frozen=True, slots=True)
class Parts:
    """What answering needs; `ask` reaches the embedder."""

    model: LanguageModel
    toolbox: Toolbox
    checkpoints: Checkpoints
    dialects: DialectChoice
    ask: Ask
    metrics: AgentMetrics
    tracer: Tracer
    limits: AgentLimits


class ToolAgent:
    """Answers questions of mode `agent`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def answer(self, question: AskQuestion, events: AnswerEvents, deadline: float | None) -> Answer:
        """Return the answer after sending its steps and its text; raises shared.errors when there can be none."""
        attributes = {semantics.GEN_AI_OPERATION: "invoke_agent", semantics.GEN_AI_AGENT: "rag"}
        with span(self._parts.tracer, semantics.agent("rag"), attributes=attributes) as current:
            checkpoint = await self._parts.checkpoints.open(question.query_id, question.tenant)
            loop = checkpoint.loop or Loop(started_at=time.time())
            current.set_attribute(semantics.RESUMED_TURNS, len(loop.turns))
            tools = await self._parts.toolbox.tools_for(question)
            run = Run(self._parts, question, events, checkpoint, tools, loop, deadline)
            answer = await run.answer()
            current.set_attribute(semantics.GEN_AI_INPUT_TOKENS, int(answer.usage["input_tokens"]))
            current.set_attribute(semantics.GEN_AI_OUTPUT_TOKENS, int(answer.usage["output_tokens"]))
            current.set_attribute(semantics.AGENT_STEPS, len(answer.steps))
        return answer

    async def forget(self, query_id: str) -> None:
        """Drop what was kept for a question; only once its answer is told is nobody going to need it."""
        await self._parts.checkpoints.drop(query_id)
