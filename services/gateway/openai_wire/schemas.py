"""Bodies and answers of OpenAI's wire format, as far as they are spoken here."""

from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, ConfigDict, Field, StrictBool, StrictInt, StringConstraints

from contracts.messages import Message
from contracts.queries import Citation
from services.gateway.schemas import ConversationId, Filter

MAX_MESSAGES: Final = 2_048
MAX_MODEL_CHARACTERS: Final = 256
MAX_EMBEDDING_INPUTS: Final = 2_048
MAX_EMBEDDING_CHARACTERS: Final = 32_768

ModelName = Annotated[str, StringConstraints(min_length=1, max_length=MAX_MODEL_CHARACTERS)]


def _as_parts(value: Any) -> Any:
    if value is None:
        return []
    return [{"type": "text", "text": value}] if isinstance(value, str) else value


class ContentPart(Message):
    """A part of a message; only text is understood."""

    type: str
    text: str | None = None


class ChatMessage(Message):
    """One message of a chat."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Annotated[
        list[ContentPart], BeforeValidator(_as_parts, json_schema_input_type=str | list[ContentPart] | None)
    ] = Field(default_factory=list)


class StreamOptions(Message):
    """What a stream brings beside the answer."""

    include_usage: StrictBool = False


class ChatBody(Message):
    """A chat to go on with: the last message, from the user, is the question, those before it are its history.

    `top_k`, `filter`, `conversation_id` and `footnotes` are additions of this platform.
    """

    # What is not known is looked at by name: some of it may be left aside, some of it must not.
    model_config = ConfigDict(extra="allow")

    model: ModelName
    messages: list[ChatMessage] = Field(min_length=1, max_length=MAX_MESSAGES)
    stream: StrictBool | None = None
    stream_options: StreamOptions | None = None
    top_k: int = Field(default=10, ge=1, le=100)
    filter: Filter | None = None
    conversation_id: ConversationId | None = None
    footnotes: StrictBool = True

    @property
    def include_usage(self) -> bool:
        """Tell whether the end of a stream brings what was used."""
        return self.stream_options is not None and self.stream_options.include_usage


class EmbeddingsBody(Message):
    """Texts to embed; `input_type` is an addition of this platform and chooses the model's prefix for queries."""

    model_config = ConfigDict(extra="forbid")

    model: ModelName
    input: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=MAX_EMBEDDING_CHARACTERS)]],
        Field(min_length=1, max_length=MAX_EMBEDDING_INPUTS),
        BeforeValidator(lambda value: _texts(value), json_schema_input_type=str | list[str]),
    ]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: StrictInt | None = Field(default=None, ge=1)
    user: str | None = None
    input_type: Literal["passage", "query"] = "passage"


def _texts(value: Any) -> Any:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and value and all(isinstance(item, int | list) for item in value):
        raise ValueError("tokens are not supported: their numbers belong to another model; send text")
    return value


class ChatUsage(Message):
    """Tokens of the language model; none when the answer is made of the documents' own sentences."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class AssistantMessage(Message):
    """The answer; `citations` and `answered` are as in the answer of `POST /v1/query`."""

    role: Literal["assistant"]
    content: str
    refusal: None
    citations: list[Citation]
    answered: bool


class ChatChoice(Message):
    """The only choice."""

    index: Literal[0]
    message: AssistantMessage
    finish_reason: Literal["stop"]
    logprobs: None


class ChatCompletion(Message):
    """An answer as OpenAI's API gives it."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: ChatUsage
    conversation_id: str | None = None


class Model(Message):
    """A model that can be named in a request."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(Message):
    """Every model that can be named in a request."""

    object: Literal["list"]
    data: list[Model]


class Embedding(Message):
    """The vector of one text: numbers, or base64 of little-endian float32."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(Message):
    """About how many tokens the texts have."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(Message):
    """Vectors in the order of their texts."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


class OpenAIErrorBody(Message):
    """What is wrong, with which input."""

    message: str
    type: str
    param: str | None
    code: str


class OpenAIError(Message):
    """An error as OpenAI's API gives it."""

    error: OpenAIErrorBody
