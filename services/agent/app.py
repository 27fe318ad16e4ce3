"""The agent process: questions from the queue, answers as events."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from contracts import topology
from contracts.queries import AskQuestion
from services.agent.answering import Answering
from services.agent.handlers import AgentHandlers
from services.agent.patience import PatientAsk
from services.agent.settings import AgentSettings
from shared.service import Lifespan, Service
from shared.serving import run_service
from shared.settings import load


def build_lifespan(settings: AgentSettings) -> Lifespan:
    """Return the service's lifespan."""

    @asynccontextmanager
    async def lifespan(service: Service) -> AsyncIterator[None]:
        ask = PatientAsk(service.requester.ask, patience_seconds=settings.agent_patience_seconds)
        answering = Answering(ask, max_embedded_sentences=settings.answer_max_embedded_sentences)
        handlers = AgentHandlers(answering, service.publisher.publish)

        async def describe() -> dict[str, Any]:
            return {"answerer": "extractive"}

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
