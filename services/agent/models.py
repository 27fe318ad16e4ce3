"""The language model that the settings name."""

from typing import TYPE_CHECKING, Final

from opentelemetry.trace import Tracer

from services.agent.metrics import AgentMetrics
from services.agent.observed_llm import ObservedLanguageModel
from services.agent.prompts import PROMPT_VERSION
from services.agent.settings import AgentSettings
from services.agent.tokens import counter_for
from shared.tls import context_of
from shared.version import VERSION

if TYPE_CHECKING:
    from services.agent.resilient_llm import ResilientLanguageModel

_DECIDE_ABOUT_ANSWERS: Final = (
    "answer_max_embedded_sentences",
    "llm_base_url",
    "llm_model",
    "llm_window_tokens",
    "llm_max_output_tokens",
    "llm_temperature",
)


def answer_fingerprint(settings: AgentSettings) -> str:
    """Return what differs where the same passages may get another answer: model, prompt, settings, release."""
    chosen = [str(getattr(settings, name)) for name in _DECIDE_ABOUT_ANSWERS]
    return repr([VERSION, PROMPT_VERSION, *chosen])


def language_model(settings: AgentSettings, tracer: Tracer, metrics: AgentMetrics) -> "ResilientLanguageModel | None":
    """Return the configured model, None when there is none; Misconfigured when a file of it cannot be used."""
    if settings.llm_base_url is None:
        return None
    # Their libraries take longer to load than all the rest, for nothing where there is no model.
    from services.agent.openai_llm import OpenAILanguageModel, Patience, Prices
    from services.agent.resilient_llm import ResilientLanguageModel

    remote = OpenAILanguageModel(
        base_url=settings.llm_base_url,
        api_key=settings.llm_api_key,
        name=settings.llm_model,
        window_tokens=settings.llm_window_tokens,
        counter=counter_for(settings.llm_tokenizer),
        patience=Patience(settings.llm_first_token_seconds, settings.llm_idle_seconds, settings.llm_timeout_seconds),
        prices=Prices(settings.llm_input_price, settings.llm_output_price),
        trust=context_of(settings, "llm_tls", "llm_base_url"),
        tracer=tracer,
    )
    return ResilientLanguageModel(
        ObservedLanguageModel(remote, tracer, metrics),
        attempts=settings.llm_attempts,
        failures=settings.llm_breaker_failures,
        open_seconds=settings.llm_breaker_seconds,
    )
