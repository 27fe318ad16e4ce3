"""The agent process: questions from the queue, answers as events."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from contracts import topology
from contracts.queries import AskQuestion
from services.agent.attendance import Attendance
from services.agent.building import build_answering
from services.agent.first_words import FirstWords
from services.agent.handlers import AgentHandlers
from services.agent.metrics import QueryMetrics
from services.agent.nats_listeners import hear_listeners
from services.agent.nats_told import StoredAnswers
from services.agent.settings import AgentSettings
from shared.messaging.broker import PendingLimits
from shared.service import Lifespan, Service
from shared.serving import run_service
from shared.settings import load


def build_lifespan(settings: AgentSettings) -> Lifespan:
    """Return the service's lifespan."""

    @asynccontextmanager
    async def lifespan(service: Service) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            answering = build_answering(service, settings, stack)
            attendance = Attendance(seconds=settings.agent_unattended_seconds)
            await hear_listeners(service.client, attendance, PendingLimits.of(settings))
            publisher, recall = service.publisher, StoredAnswers(service.client)
            metrics = QueryMetrics(service.telemetry.meter)
            first_words = FirstWords(together=settings.agent_first_words, seconds=settings.agent_first_words_seconds)
            handlers = AgentHandlers(
                answering, publisher.publish, recall, attendance, publisher.publish_together, metrics, first_words
            )

            async def describe() -> dict[str, Any]:
                return {"answerer": answering.writer_name}

            service.consume(topology.AGENT, AskQuestion, handlers.on_question, workers=settings.agent_workers)
            service.health.checks["answerer"] = describe
            yield

    return lifespan


def main() -> None:
    """Run the agent until a signal comes."""
    settings = load(AgentSettings)
    run_service("agent", settings, build_lifespan(settings))


if __name__ == "__main__":
    main()
