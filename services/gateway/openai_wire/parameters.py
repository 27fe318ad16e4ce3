"""What becomes of the parameters of OpenAI's chat completions that nothing here reads.

One that would change what is said, or what comes back, is refused unless its value asks for nothing. One that only
steers how a model samples, what it costs or how it is kept is accepted, and does nothing. Any other is unknown.
"""

from collections.abc import Mapping
from typing import Any, Final

from shared.errors import Rejected

# With the values that ask for nothing.
REFUSED: Final[dict[str, tuple[Any, ...]]] = {
    "audio": (),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "moderation": (),
    "n": (1,),
    "prediction": (),
    "response_format": ({"type": "text"},),
    "stop": ([],),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
    "web_search_options": (),
}
IGNORED: Final = frozenset(
    {
        "frequency_penalty",
        "max_completion_tokens",
        "max_tokens",
        "metadata",
        "parallel_tool_calls",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning_effort",
        "safety_identifier",
        "seed",
        "service_tier",
        "store",
        "temperature",
        "top_p",
        "user",
        "verbosity",
    }
)


def require_supported(parameters: Mapping[str, Any]) -> None:
    """Raise Rejected for the first parameter that cannot be left aside; null is as good as absent."""
    for name, value in parameters.items():
        if value is None or name in IGNORED:
            continue
        if name not in REFUSED:
            raise Rejected(f"there is no parameter {name!r}", code="unknown_parameter", field=name)
        if value not in REFUSED[name]:
            raise Rejected(_refusal(name), code="unsupported_parameter", field=name)


def _refusal(name: str) -> str:
    harmless = " or ".join(repr(value) for value in REFUSED[name])
    return f"{name!r} is not supported; leave it out{f', or send {harmless}' if harmless else ''}"
