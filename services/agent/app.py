"""The agent process: questions from the queue, answers as events."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from contracts import topology
from contracts.queries import AskQuestion
from services.agent.answer_cache import AnswerCache
from services.agent.answering import Answering
from services.agent.attendance import Attendance
from services.agent.conversation import ConversationLimits, Conversations
from services.agent.extractive_writer import ExtractiveWriter
from services.agent.generative_writer import GenerativeWriter, WritingLimits
from services.agent.handlers import AgentHandlers
from services.agent.llm import LanguageModel
from services.agent.metrics import AgentMetrics
from services.agent.models import answer_fingerprint, language_model
from services.agent.nats_listeners import hear_listeners
from services.agent.nats_told import StoredAnswers
from services.agent.patience import Ask, PatientAsk
from services.agent.rewriting import ModelRewriter, RewriteLimits, RuleRewriter
from services.agent.settings import AgentSettings
from services.agent.writer import Writer
from shared.caching.building import build_cache
from shared.caching.metrics import CacheMetrics
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
            metrics = AgentMetrics(service.telemetry.meter)
            model = language_model(settings, service.telemetry.tracer, metrics)
            if model is not None:
                stack.push_async_callback(model.close)
            writer = _writer(model, settings, ask, metrics)
            conversations = _conversations(service, model, settings, ask)
            answering = Answering(ask, writer, conversations, _answer_cache(service, settings, writer, stack))
            attendance = Attendance(seconds=settings.agent_unattended_seconds)
            await hear_listeners(service.client, attendance, PendingLimits.of(settings))
            publisher, recall = service.publisher, StoredAnswers(service.client)
            handlers = AgentHandlers(answering, publisher.publish, recall, attendance, publisher.publish_together)

            async def describe() -> dict[str, Any]:
                return {"answerer": writer.name}

            service.consume(topology.AGENT, AskQuestion, handlers.on_question, workers=settings.agent_workers)
            service.health.checks["answerer"] = describe
            yield

    return lifespan


def _conversations(service: Service, model: LanguageModel | None, settings: AgentSettings, ask: Ask) -> Conversations:
    limits = RewriteLimits(
        settings.conversation_history_tokens,
        settings.conversation_rewrite_tokens,
        settings.conversation_rewrite_seconds,
    )
    return Conversations(
        ask,
        service.publisher.publish,
        ModelRewriter(model, limits) if model else RuleRewriter(),
        ConversationLimits(
            settings.conversation_turns, settings.conversation_turn_bytes, settings.conversation_record_seconds
        ),
    )


def _writer(model: LanguageModel | None, settings: AgentSettings, ask: Ask, metrics: AgentMetrics) -> Writer:
    if model is None:
        return ExtractiveWriter(ask, max_embedded_sentences=settings.answer_max_embedded_sentences)
    limits = WritingLimits(settings.llm_max_output_tokens, settings.llm_temperature, settings.llm_delta_seconds)
    return GenerativeWriter(model, ask, metrics, limits)


def _answer_cache(
    service: Service, settings: AgentSettings, writer: Writer, stack: AsyncExitStack
) -> AnswerCache | None:
    if not settings.answer_cache:
        return None
    metrics = CacheMetrics(service.telemetry.meter)
    cache = build_cache(settings, metrics)
    stack.push_async_callback(cache.close)
    service.health.checks["cache"] = cache.describe
    return AnswerCache(
        # Without patience: an answer that is made anew waits for the retriever, where it has to.
        service.requester.ask,
        cache,
        writer=f"{writer.name} {answer_fingerprint(settings)}",
        seconds=settings.answer_cache_seconds,
        epoch_seconds=settings.answer_cache_epoch_seconds,
        metrics=metrics,
    )


def main() -> None:
    """Run the agent until a signal comes."""
    settings = load(AgentSettings)
    run_service("agent", settings, build_lifespan(settings))


if __name__ == "__main__":
    main()
