"""Putting the agent's parts together as its settings say."""

from contextlib import AsyncExitStack
from typing import Any

from services.agent.agent_mode.agent import ToolAgent
from services.agent.agent_mode.building import build_tool_agent
from services.agent.answer_cache import AnswerCache
from services.agent.answering import Answering
from services.agent.conversation import ConversationLimits, Conversations
from services.agent.describing import describe_llm
from services.agent.extractive_writer import ExtractiveWriter
from services.agent.generative_writer import GenerativeWriter, WritingLimits
from services.agent.llm import LanguageModel
from services.agent.metrics import AgentMetrics
from services.agent.models import answer_fingerprint, language_model
from services.agent.patience import Ask, PatientAsk
from services.agent.rewriting import ModelRewriter, RewriteLimits, RuleRewriter
from services.agent.settings import AgentSettings
from services.agent.writer import Writer
from shared.caching.building import build_cache
from shared.caching.metrics import CacheMetrics
from shared.service import Service


def build_answering(service: Service, settings: AgentSettings, stack: AsyncExitStack) -> Answering:
    """Return what answers questions; `stack` closes what it holds."""
    ask = PatientAsk(service.requester.ask, patience_seconds=settings.agent_patience_seconds)
    metrics = AgentMetrics(service.telemetry.meter)
    model = language_model(settings, service.telemetry.tracer, metrics)
    if model is not None:
        stack.push_async_callback(model.close)

    async def told_of_llm() -> dict[str, Any]:
        return describe_llm(settings, model)

    service.health.checks["llm"] = told_of_llm
    writer = _writer(model, settings, ask, metrics)
    return Answering(
        ask,
        writer,
        _conversations(service, model, settings, ask),
        _answer_cache(service, settings, writer, stack),
        _agent(service, model, settings, ask, metrics, stack),
    )


def _writer(model: LanguageModel | None, settings: AgentSettings, ask: Ask, metrics: AgentMetrics) -> Writer:
    if model is None:
        return ExtractiveWriter(ask, max_embedded_sentences=settings.answer_max_embedded_sentences)
    limits = WritingLimits(settings.llm_max_output_tokens, settings.llm_temperature, settings.llm_delta_seconds)
    return GenerativeWriter(model, ask, metrics, limits)


def _agent(
    service: Service,
    model: LanguageModel | None,
    settings: AgentSettings,
    ask: Ask,
    metrics: AgentMetrics,
    stack: AsyncExitStack,
) -> ToolAgent | None:
    if model is None:
        return None
    agent, tools = build_tool_agent(settings, service, model, ask, metrics)
    stack.push_async_callback(tools.close)
    return agent


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


def _answer_cache(
    service: Service, settings: AgentSettings, writer: Writer, stack: AsyncExitStack
) -> AnswerCache | None:
    if not settings.answer_cache:
        return None
    metrics = CacheMetrics(service.telemetry.meter)
    cache = build_cache(settings, metrics, service.telemetry.tracer)
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
