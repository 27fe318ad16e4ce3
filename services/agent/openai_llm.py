"""A language model behind an OpenAI-compatible endpoint; nothing is tried twice here."""

import asyncio
import re
import ssl
import time
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import openai
import orjson
from opentelemetry.trace import Tracer
from pydantic import SecretStr

from services.agent.event_data import EventData, EventTooLong
from services.agent.llm import (
    ChatMessage,
    ChatRequest,
    Completion,
    ContextTooLong,
    Finish,
    LlmRateLimited,
    LlmRefused,
    LlmUnavailable,
    Tool,
    ToolCall,
    Usage,
)
from services.agent.tokens import TokenCounter
from shared.errors import DeadlineExpired
from shared.openai_http import traced_http
from shared.openai_words import without_key
from shared.secrets import HIDDEN
from shared.tls import tls_trouble

# A piece of an answer as it came: what it should hold, OpenAI's `ChatCompletionChunk` says.
Chunk: TypeAlias = Mapping[str, Any]

TLS_SETTINGS: Final = "RAG_LLM_TLS"
_CREDENTIALS: Final = (401, 403, 404)
_MAX_REASON_CHARACTERS: Final = 300
_MAX_RETRY_AFTER_SECONDS: Final = 60.0
# No endpoint says it in the same words; the code is OpenAI's, the sentences are vLLM's, llama.cpp's and others'.
_TOO_LONG: Final = re.compile(
    r"context_length_exceeded|exceed_context_size|context (length|window|size)|maximum context|too many tokens", re.I
)
# What one answer may hold in memory, whatever the endpoint sends.
_MAX_TEXT_CHARACTERS: Final = 1_000_000
_MAX_TOOL_CALLS: Final = 128
_END: Final = b"[DONE]"
# The end of the stream mostly comes in the same packet; nobody shall wait for one that does not.
_READ_OUT_SECONDS: Final = 0.05
_NO_ROOM: Final = "the question and its context do not fit into the model's window"
_RUBBISH: Final = "the language model answered something that is no answer"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, in seconds: for the first piece, between two pieces, and for the whole answer."""

    first: float
    between: float
    whole: float


@dataclass(frozen=True, slots=True)
class Prices:
    """What a million tokens cost, in any one currency."""

    input_per_million: float = 0.0
    output_per_million: float = 0.0

    def of(self, input_tokens: int, output_tokens: int) -> float:
        """Return the price of a request."""
        return (input_tokens * self.input_per_million + output_tokens * self.output_per_million) / 1_000_000


class OpenAILanguageModel:
    """A `LanguageModel` over HTTP."""

    def __init__(
        self,
        *,
        base_url: str,
        api_key: SecretStr | None,
        name: str,
        window_tokens: int,
        counter: TokenCounter,
        patience: Patience,
        prices: Prices,
        trust: ssl.SSLContext | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self.name, self.window_tokens = name, window_tokens
        self._counter, self._patience, self._prices = counter, patience, prices
        # The client wants a key even where the server wants none.
        key = api_key.get_secret_value() if api_key else "none"
        http = traced_http(tracer, trust)
        self._client = openai.AsyncOpenAI(
            base_url=base_url, api_key=key, max_retries=0, timeout=patience.whole, http_client=http
        )

    def count_tokens(self, text: str) -> int:
        """Return how many tokens a text takes up."""
        return self._counter.count(text)

    async def close(self) -> None:
        """Close the connections; requests in flight raise LlmUnavailable."""
        await self._client.close()

    async def stream(self, request: ChatRequest, *, deadline: float | None = None) -> AsyncGenerator[str | Completion]:
        """Yield pieces of text as they come and the completion last; see `LanguageModel`."""
        patience = self._patience.whole
        if deadline is not None:
            patience = min(patience, deadline - time.time())
            if patience <= 0:
                raise DeadlineExpired("no time left to ask the language model")
        until = asyncio.get_running_loop().time() + patience
        answer = _Answer()
        async with aclosing(self._chunks(request, until)) as chunks:
            async for chunk in chunks:
                if text := _taken(answer, chunk):
                    yield text
        yield self._completion(request, answer)

    async def _chunks(self, request: ChatRequest, until: float) -> AsyncGenerator[Chunk]:
        events = EventData()
        async with aclosing(self._pieces(request, until)) as pieces:
            async for piece in pieces:
                for event in _complete(events, piece):
                    if event == _END:
                        await _read_out(pieces)
                        return
                    yield _chunk_of(event, self._client.api_key)

    async def _pieces(self, request: ChatRequest, until: float) -> AsyncGenerator[bytes]:
        """Yield the answer's bytes as they come."""
        wait = self._patience.first
        asked = self._client.chat.completions.with_streaming_response.create(**_arguments(self.name, request))
        stack = AsyncExitStack()
        try:
            async with asyncio.timeout_at(_earlier(until, wait)):
                response = await stack.enter_async_context(asked)
            pieces = response.iter_bytes()
            while True:
                async with asyncio.timeout_at(_earlier(until, wait)):
                    piece = await anext(pieces, None)
                if piece is None:
                    return
                wait = self._patience.between
                yield piece
        except openai.APIStatusError as error:
            raise _status_error(error) from error
        except TimeoutError as error:
            if asyncio.get_running_loop().time() >= until:
                raise LlmUnavailable("the language model did not end its answer in time", transient=False) from error
            raise LlmUnavailable(f"the language model sent nothing for {wait:g} s") from error
        except Exception as error:
            # The client leaves what happens while bytes are read as its HTTP library raises it.
            reason = tls_trouble(error, TLS_SETTINGS) or type(error).__name__
            raise LlmUnavailable(f"the language model cannot be reached: {reason}") from error
        finally:
            await stack.aclose()

    def _completion(self, request: ChatRequest, answer: "_Answer") -> Completion:
        if answer.refused:
            raise LlmRefused("the language model's endpoint withheld the answer (content filter)")
        if answer.finish is None:
            raise LlmUnavailable("the language model's answer broke off")
        counted = sum(self._counter.count(message.content) for message in request.messages)
        if answer.input_tokens:
            self._counter.learn(counted, answer.input_tokens)
        sent = answer.input_tokens or counted
        written = answer.output_tokens or self._counter.count(answer.text)
        usage = Usage(sent, written, self._prices.of(sent, written), calls=1)
        return Completion(answer.text, answer.finish, usage, answer.calls)


@dataclass(slots=True)
class _Answer:
    """What the chunks of one answer add up to."""

    pieces: list[str] = field(default_factory=list)
    partial_calls: dict[int, list[str]] = field(default_factory=dict)
    finish: Finish | None = None
    refused: bool = False
    input_tokens: int = 0
    output_tokens: int = 0
    characters: int = 0

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        ordered = sorted(self.partial_calls.items())
        return tuple(ToolCall(call or f"call_{index}", name, arguments) for index, (call, name, arguments) in ordered)

    def take(self, chunk: Chunk) -> str:
        """Add a chunk and return its text; raises what Python raises of one that is built otherwise."""
        if usage := chunk.get("usage"):
            self.input_tokens, self.output_tokens = int(usage["prompt_tokens"]), int(usage["completion_tokens"])
        if not (choices := chunk.get("choices")):
            return ""
        choice = choices[0]
        delta = choice.get("delta") or {}
        self._take_calls(delta.get("tool_calls") or ())
        if (reason := choice.get("finish_reason")) is not None:
            self.refused = reason == "content_filter"
            self.finish = "length" if reason == "length" else "tool_calls" if self.partial_calls else "stop"
        self.refused = self.refused or bool(delta.get("refusal"))
        text: str = delta.get("content") or ""
        self.characters += len(text)
        if self.characters > _MAX_TEXT_CHARACTERS:
            raise LlmUnavailable("the language model does not end its answer", transient=False)
        if text:
            self.pieces.append(text)
        return text

    def _take_calls(self, pieces: Iterable[Mapping[str, Any]]) -> None:
        for piece in pieces:
            call = self.partial_calls.setdefault(piece["index"], ["", "", ""])
            if len(self.partial_calls) > _MAX_TOOL_CALLS:
                raise LlmUnavailable("the language model asks for too many tools at once", transient=False)
            call[0] = piece.get("id") or call[0]
            if function := piece.get("function"):
                call[1] = function.get("name") or call[1]
                call[2] += function.get("arguments") or ""
                self.characters += len(function.get("arguments") or "")


async def _read_out(pieces: AsyncGenerator[bytes]) -> None:
    """Read what still belongs to an answer that is complete: without it the connection could not be used again."""
    with suppress(TimeoutError, LlmUnavailable):
        async with asyncio.timeout(_READ_OUT_SECONDS):
            async for _ in pieces:
                pass


def _complete(events: EventData, piece: bytes) -> Iterator[bytes]:
    try:
        yield from events.feed(piece)
    except EventTooLong as error:
        raise LlmUnavailable(f"{_RUBBISH}: {error}", transient=False) from error


def _chunk_of(event: bytes, key: str) -> Chunk:
    """Return what an event holds; raises what an event tells that came instead of the rest of the answer."""
    try:
        chunk: Chunk = orjson.loads(event)
    except orjson.JSONDecodeError as error:
        raise LlmUnavailable(f"{_RUBBISH}: {type(error).__name__}") from error
    if isinstance(chunk, dict) and (told := chunk.get("error")):
        raise _told_error(told, key)
    return chunk


def _told_error(error: Any, key: str) -> Exception:
    """Return the error that an endpoint tells of after it began to answer, when no status can say it any more."""
    told = str(error.get("message") if isinstance(error, dict) else error).replace(key, HIDDEN)
    words = " ".join(told.split())[:_MAX_REASON_CHARACTERS]
    if _TOO_LONG.search(f"{error} {words}"):
        return ContextTooLong(f"{_NO_ROOM}: {words}").quoting()
    return LlmUnavailable(f"the language model's endpoint broke off its answer: {words}").quoting()


def _taken(answer: _Answer, chunk: Chunk) -> str:
    try:
        return answer.take(chunk)
    except (TypeError, ValueError, AttributeError, KeyError, IndexError) as error:
        raise LlmUnavailable(f"{_RUBBISH}: {type(error).__name__}") from error


def _arguments(model: str, request: ChatRequest) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "model": model,
        "messages": [_message(message) for message in request.messages],
        "max_tokens": request.max_output_tokens,
        "temperature": request.temperature,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.tools:
        arguments["tools"] = [_tool(tool) for tool in request.tools]
    if request.response_schema is not None:
        schema = {"name": "answer", "schema": request.response_schema, "strict": True}
        arguments["response_format"] = {"type": "json_schema", "json_schema": schema}
    return arguments


def _message(message: ChatMessage) -> dict[str, Any]:
    fields: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        fields["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        fields["tool_call_id"] = message.tool_call_id
    return fields


def _tool(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": function}


def _earlier(until: float, seconds: float) -> float:
    return min(until, asyncio.get_running_loop().time() + seconds)


def _status_error(error: openai.APIStatusError) -> Exception:
    status, words = error.status_code, _words(error)
    if status == 429:
        return LlmRateLimited(
            f"the language model's endpoint is busy: {words}", retry_after_seconds=_retry_after(error.response.headers)
        ).quoting()
    if status in _CREDENTIALS:
        hint = "check RAG_LLM_BASE_URL, RAG_LLM_API_KEY and RAG_LLM_MODEL"
        return LlmUnavailable(f"the language model's endpoint answered {status}: {hint}", transient=False)
    # llama.cpp answers 500 when the window fills up only while it works.
    if status in (400, 413, 422, 500) and _TOO_LONG.search(f"{error.code} {error.message}"):
        return ContextTooLong(f"{_NO_ROOM}: {words}").quoting()
    if status in (400, 413, 422):
        return LlmRefused(f"the language model's endpoint refused the request: {words}").quoting()
    return LlmUnavailable(
        f"the language model's endpoint answered {status}", retry_after_seconds=_retry_after(error.response.headers)
    )


def _words(error: openai.APIStatusError) -> str:
    return " ".join(without_key(error).split())[:_MAX_REASON_CHARACTERS]


def _retry_after(headers: Mapping[str, str]) -> float | None:
    value = headers.get("retry-after", "")
    return min(float(value), _MAX_RETRY_AFTER_SECONDS) if value.isdecimal() else None
