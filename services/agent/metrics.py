"""The instruments of the agent, declared once with their units and buckets."""

from opentelemetry.metrics import Meter

_SECONDS = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0]


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
            explicit_bucket_boundaries_advisory=_SECONDS,
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
