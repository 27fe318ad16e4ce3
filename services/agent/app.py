"""The agent process: questions from the queue, answers as events."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from contracts import topology
from contracts.queries import AskQuestion
from services.agent.agent_mode.building import build_tool_agent
from services.agent.answering import Answering
from services.agent.extractive_writer import ExtractiveWriter
from services.agent.generative_writer import GenerativeWriter, WritingLimits
from services.agent.handlers import AgentHandlers
from services.agent.metrics import AgentMetrics
from services.agent.models import language_model
from services.agent.nats_told import StoredAnswers
from services.agent.patience import Ask, PatientAsk
from services.agent.settings import AgentSettings
from shared.service import Lifespan, Service
from shared.serving import run_service
from shared.settings import load


def build_lifespan(settings: AgentSettings) -> Lifespan:
    """Return the service's lifespan."""

    @asynccontextmanager
    async def lifespan(service: Service) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            ask = PatientAsk(service.requester.ask, patience_seconds=settings.agent_patience_seconds)
            answering = _answering(service, settings, ask, stack)
            handlers = AgentHandlers(answering, service.publisher.publish, StoredAnswers(service.client))

            async def describe() -> dict[str, Any]:
                return {"answerer": answering.writer_name}

            service.consume(topology.AGENT, AskQuestion, handlers.on_question, workers=settings.agent_workers)
            service.health.checks["answerer"] = describe
            yield

    return lifespan


def _answering(service: Service, settings: AgentSettings, ask: Ask, stack: AsyncExitStack) -> Answering:
    metrics = AgentMetrics(service.telemetry.meter)
    model = language_model(settings, service.telemetry.tracer, metrics)
    if model is None:
        return Answering(ask, ExtractiveWriter(ask, max_embedded_sentences=settings.answer_max_embedded_sentences))
    stack.push_async_callback(model.close)
    limits = WritingLimits(settings.llm_max_output_tokens, settings.llm_temperature, settings.llm_delta_seconds)
    agent, tools = build_tool_agent(settings, service, model, ask, metrics)
    stack.push_async_callback(tools.close)
    return Answering(ask, GenerativeWriter(model, ask, metrics, limits), agent)


def main() -> None:
    """Run the agent until a signal comes."""
    settings = load(AgentSettings)
    run_service("agent", settings, build_lifespan(settings))


if __name__ == "__main__":
    main()
