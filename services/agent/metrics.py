"""The instruments of the agent, declared once with their units and buckets."""

from typing import Final, Literal

from opentelemetry.metrics import Meter

from services.agent.llm import ContextTooLong, LlmRateLimited, LlmRefused, LlmUnavailable
from shared.errors import DeadlineExpired
from shared.metrics import SECONDS

QueryOutcome = Literal["answered", "declined", "rejected", "failed"]
_LLM_ERRORS: Final = (LlmUnavailable, LlmRateLimited, LlmRefused, ContextTooLong, DeadlineExpired)
_LLM_OUTCOMES: Final = ("ok", "abandoned", *(error.code for error in _LLM_ERRORS))


class QueryMetrics:
    """How long whoever asks waits, from when the question was stored in the queue; seconds."""

    def __init__(self, meter: Meter) -> None:
        self._duration = meter.create_histogram(
            "rag.queries.duration",
            unit="s",
            description="Time to answer a question; its count is the number of questions.",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        self._first_delta = meter.create_histogram(
            "rag.queries.first_delta",
            unit="s",
            description="Time from a question's acceptance to the first piece of its answer.",
            explicit_bucket_boundaries_advisory=SECONDS,
        )

    def ended(self, mode: str, outcome: QueryOutcome, seconds: float, *, cached: bool = False) -> None:
        """Record a question that was answered, declined for want of evidence, refused, or failed."""
        self._duration.record(seconds, {"rag.mode": mode, "rag.outcome": outcome, "rag.cached": cached})

    def first_delta(self, mode: str, seconds: float) -> None:
        """Record that a caller may read the first piece of an answer."""
        self._first_delta.record(seconds, {"rag.mode": mode})


class AgentMetrics:
    """What language models were asked and what became of it."""

    def __init__(self, meter: Meter) -> None:
        self.requests = meter.create_counter(
            "rag.llm.requests", unit="{request}", description="Requests to the language model by outcome."
        )
        self.tokens = meter.create_counter(
            "rag.llm.tokens", unit="{token}", description="Tokens by direction (input, output)."
        )
        self.cost = meter.create_counter(
            "rag.llm.cost", unit="{currency}", description="Money in the currency of the configured prices."
        )
        self.first_token = meter.create_histogram(
            "rag.llm.first_token",
            unit="s",
            description="Time from a request to the first piece of its answer.",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        self.tool_calls = meter.create_counter(
            "rag.agent.tool_calls", unit="{call}", description="Calls of tools by tool and outcome (ok, failed)."
        )
        self.ended_by_budget = meter.create_counter(
            "rag.agent.budget_ends", unit="{question}", description="Questions whose tools were ended by a budget."
        )
        self.lost_checkpoints = meter.create_counter(
            "rag.agent.lost_checkpoints",
            unit="{write}",
            description="Steps of an agent that could not be kept; one that takes over repeats them.",
        )
        self.invented_markers = meter.create_counter(
            "rag.citations.invented",
            unit="{marker}",
            description="Markers that pointed at no passage and were removed.",
        )
        for outcome in _LLM_OUTCOMES:
            self.requests.add(0, {"outcome": outcome})
        for direction in ("input", "output"):
            self.tokens.add(0, {"direction": direction})
        for counter in (self.cost, self.lost_checkpoints, self.invented_markers):
            counter.add(0)
