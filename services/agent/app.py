"""The agent process: questions from the queue, answers as events."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from contracts import topology
from contracts.queries import AskQuestion
from services.agent.answering import Answering
from services.agent.attendance import Attendance
from services.agent.extractive_writer import ExtractiveWriter
from services.agent.generative_writer import GenerativeWriter, WritingLimits
from services.agent.handlers import AgentHandlers
from services.agent.metrics import AgentMetrics
from services.agent.models import language_model
from services.agent.nats_listeners import hear_listeners
from services.agent.nats_told import StoredAnswers
from services.agent.patience import Ask, PatientAsk
from services.agent.settings import AgentSettings
from services.agent.writer import Writer
from shared.messaging.broker import PendingLimits
from shared.service import Lifespan, Service
from shared.serving import run_service
from shared.settings import load


def build_lifespan(settings: AgentSettings) -> Lifespan:
    """Return the service's lifespan."""

    @asynccontextmanager
    async def lifespan(service: Service) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            ask = PatientAsk(service.requester.ask, patience_seconds=settings.agent_patience_seconds)
            writer = _writer(service, settings, ask, stack)
            attendance = Attendance(seconds=settings.agent_unattended_seconds)
            await hear_listeners(service.client, attendance, PendingLimits.of(settings))
            publish, recall = service.publisher.publish, StoredAnswers(service.client)
            handlers = AgentHandlers(Answering(ask, writer), publish, recall, attendance)

            async def describe() -> dict[str, Any]:
                return {"answerer": writer.name}

            service.consume(topology.AGENT, AskQuestion, handlers.on_question, workers=settings.agent_workers)
            service.health.checks["answerer"] = describe
            yield

    return lifespan


def _writer(service: Service, settings: AgentSettings, ask: Ask, stack: AsyncExitStack) -> Writer:
    metrics = AgentMetrics(service.telemetry.meter)
    model = language_model(settings, service.telemetry.tracer, metrics)
    if model is None:
        return ExtractiveWriter(ask, max_embedded_sentences=settings.answer_max_embedded_sentences)
    stack.push_async_callback(model.close)
    limits = WritingLimits(settings.llm_max_output_tokens, settings.llm_temperature, settings.llm_delta_seconds)
    return GenerativeWriter(model, ask, metrics, limits)


def main() -> None:
    """Run the agent until a signal comes."""
    settings = load(AgentSettings)
    run_service("agent", settings, build_lifespan(settings))


if __name__ == "__main__":
    main()
