"""What the agent tells of its language model."""

from typing import TYPE_CHECKING, Any

from services.agent.settings import AgentSettings
from shared.addresses import host_of

if TYPE_CHECKING:
    from services.agent.resilient_llm import ResilientLanguageModel


def describe_llm(settings: AgentSettings, model: "ResilientLanguageModel | None") -> dict[str, Any]:
    """Return which language model answers, where, and whether it is asked at the moment; never its key."""
    if model is None or settings.llm_base_url is None:
        return {"configured": False}
    return {
        "configured": True,
        "model": model.name,
        "host": host_of(settings.llm_base_url),
        "has_key": settings.llm_api_key is not None,
        "window_tokens": model.window_tokens,
        "state": "away" if model.away else "ok",
    }
