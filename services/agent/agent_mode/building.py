"""Puts the agent mode together from the settings."""

from services.agent.agent_mode.agent import BYTES_PER_TOKEN, AgentLimits, Parts, ToolAgent
from services.agent.agent_mode.dialect import DialectChoice
from services.agent.agent_mode.loop import Limits
from services.agent.agent_mode.nats_checkpoints import NatsCheckpoints
from services.agent.agent_mode.nats_tools import NatsTools, ToolCallLimits
from services.agent.agent_mode.toolbox import Toolbox
from services.agent.llm import LanguageModel
from services.agent.metrics import AgentMetrics
from services.agent.patience import Ask
from services.agent.settings import AgentSettings
from shared.service import Service


def build_tool_agent(
    settings: AgentSettings, service: Service, model: LanguageModel, ask: Ask, metrics: AgentMetrics
) -> tuple[ToolAgent, NatsTools]:
    """Return the agent, and the finder of its tools, which has to be closed."""
    limits = agent_limits(settings)
    calls = ToolCallLimits(settings.agent_tool_seconds, settings.agent_tool_reply_bytes, limits.result_bytes)
    others = NatsTools(
        service.client,
        allowed=settings.tool_names,
        limits=calls,
        discovery_seconds=settings.agent_discovery_seconds,
        cache_seconds=settings.agent_discovery_cache_seconds,
    )
    parts = Parts(
        model=model,
        toolbox=Toolbox(ask, others.offered, max_bytes=limits.result_bytes),
        checkpoints=NatsCheckpoints(service.client, metrics),
        dialects=DialectChoice(settings.llm_tool_calls),
        ask=ask,
        metrics=metrics,
        tracer=service.telemetry.tracer,
        limits=limits,
    )
    return ToolAgent(parts), others


def agent_limits(settings: AgentSettings) -> AgentLimits:
    """Return the limits that the settings name; no result may fill more than a quarter of the model's window."""
    return AgentLimits(
        budgets=Limits(
            steps=settings.agent_max_steps,
            tokens=settings.agent_max_tokens,
            seconds=settings.agent_max_seconds,
            answer_seconds=min(settings.agent_answer_seconds, settings.agent_max_seconds / 2),
            cost=settings.agent_max_cost,
            input_price=settings.llm_input_price,
            output_price=settings.llm_output_price,
        ),
        max_output_tokens=settings.llm_max_output_tokens,
        temperature=settings.llm_temperature,
        delta_seconds=settings.llm_delta_seconds,
        calls_per_turn=settings.agent_max_calls,
        tool_seconds=settings.agent_tool_seconds,
        result_bytes=min(settings.agent_tool_result_bytes, settings.llm_window_tokens * BYTES_PER_TOKEN // 4),
    )
