"""What a language model is asked, what it answers, and how that fails.

shared.errors.PlatformError
├── Retryable
│   └── Unavailable
│       ├── LlmUnavailable     no answer, a broken one, 5xx, bad credentials, or the circuit is open
│       └── LlmRateLimited     the endpoint wants to be asked later
└── Rejected
    ├── ContextTooLong         the request does not fit into the model's window
    └── LlmRefused             the endpoint will never answer this request
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from shared.errors import Rejected, Unavailable

Role = Literal["system", "user", "assistant", "tool"]
Finish = Literal["stop", "length", "tool_calls"]


class LlmUnavailable(Unavailable):
    """The model's endpoint does not answer now; `transient` tells whether asking again soon may help."""

    code = "llm_unavailable"

    def __init__(self, message: str, *, retry_after_seconds: float | None = None, transient: bool = True) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)
        self.transient = transient
        self.asked_for_seconds = retry_after_seconds or 0.0


class LlmRateLimited(Unavailable):
    """The model's endpoint asks to come back later, where it says so after `asked_for_seconds`."""

    code = "llm_rate_limited"

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)
        self.asked_for_seconds = retry_after_seconds or 0.0


class ContextTooLong(Rejected):
    """The request is longer than the model's window."""

    code = "context_too_long"


class LlmRefused(Rejected):
    """The model's endpoint refuses the request or its own answer."""

    code = "llm_refused"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model wants made; `arguments` is JSON as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a conversation with the model; a `tool` message answers the call with `tool_call_id`."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as the model is told of it; `parameters` is a JSON Schema of an object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What the model is asked; with `response_schema` (JSON Schema) it answers with one JSON object.

    `prompt_version` names the words that were used, for traces.
    """

    messages: Sequence[ChatMessage]
    max_output_tokens: int
    temperature: float = 0.0
    tools: Sequence[Tool] = ()
    response_schema: Mapping[str, Any] | None = None
    prompt_version: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a request cost: tokens as the endpoint counted them, money in the currency of the configured prices."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    calls: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cost + other.cost,
            self.calls + other.calls,
        )

    def told(self) -> dict[str, float]:
        """Return it as an answer tells it."""
        return {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "llm_calls": self.calls,
            "cost": self.cost,
        }


@dataclass(frozen=True, slots=True)
class Completion:
    """The end of an answer: its whole text or the calls it wants made."""

    text: str
    finish: Finish
    usage: Usage
    tool_calls: tuple[ToolCall, ...] = field(default=())


class LanguageModel(Protocol):
    """A model that answers in pieces."""

    @property
    def name(self) -> str:
        """Return the name under which the endpoint knows the model."""
        ...

    @property
    def window_tokens(self) -> int:
        """Return how many tokens question and answer may have together."""
        ...

    def stream(self, request: ChatRequest, *, deadline: float | None = None) -> AsyncGenerator[str | Completion]:
        """Yield pieces of text as they come and the completion last; `deadline` is unix seconds.

        Raises the errors drawn at the top of this module, and DeadlineExpired.
        """
        ...

    def count_tokens(self, text: str) -> int:
        """Return how many tokens of the window a text takes up, rather too many than too few."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...
