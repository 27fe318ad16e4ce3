"""The two ways to let a model call tools: the endpoint's own tool calls, or replies of a fixed form.

Each renders the loop as messages and reads what the model answers; a question may change from one to the other in the
middle, as nothing of either is kept in the loop.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from services.agent.agent_mode.instructions import (
    AGENT_PROMPT_VERSION,
    LAST_REQUEST,
    LEFT_OUT,
    bounded_result,
    numbered_passage,
    reply_schema,
    rules,
)
from services.agent.agent_mode.loop import Call, Loop, ToolResult, Turn
from services.agent.agent_mode.reply_reader import Reply, ReplyReader
from services.agent.llm import ChatMessage, ChatRequest, Completion, ContextTooLong, Tool, ToolCall

ToolCalls = Literal["auto", "native", "json_schema"]
CountTokens = Callable[[str], int]
# The chat template adds tokens around each message, and no counter is exact.
RESERVE: Final = 0.05


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request is made of beside the loop; `last` means that no tools are offered."""

    question: str
    mark: str
    tools: Sequence[Tool]
    calls_per_turn: int
    max_output_tokens: int
    temperature: float
    last: bool = False


class Reader(Protocol):
    """Reads one answer of the model."""

    def feed(self, piece: str) -> str:
        """Take a piece of text and return what may be a part of the answer."""
        ...

    def end(self, completion: Completion) -> Reply:
        """Return what was said."""
        ...


class Dialect(Protocol):
    """One way to call tools."""

    def request(self, loop: Loop, asked: Asked, room: int, count: CountTokens) -> ChatRequest:
        """Return the request that fits into `room` tokens; ContextTooLong when none does."""
        ...

    def reader(self) -> Reader:
        """Return a reader for its answer."""
        ...


class NativeCalls:
    """The endpoint's own tool calls."""

    def request(self, loop: Loop, asked: Asked, room: int, count: CountTokens) -> ChatRequest:
        """Return the request."""
        offered = () if asked.last else tuple(asked.tools)
        room -= sum(count(f"{tool.name} {tool.description} {tool.parameters}") for tool in offered)
        messages = _fitting(loop, asked, room, count, _native_messages)
        return _request(messages, asked, tools=offered)

    def reader(self) -> Reader:
        """Return a reader."""
        return _NativeReader()


class _NativeReader:
    def feed(self, piece: str) -> str:
        return piece

    def end(self, completion: Completion) -> Reply:
        calls = tuple(Call(name=call.name, arguments=call.arguments) for call in completion.tool_calls)
        return Reply(completion.text, calls)


class RepliesBySchema:
    """Replies of a fixed form, for endpoints that know no tool calls."""

    def request(self, loop: Loop, asked: Asked, room: int, count: CountTokens) -> ChatRequest:
        """Return the request."""
        schema = reply_schema(() if asked.last else asked.tools, asked.calls_per_turn)
        messages = _fitting(loop, asked, room, count, _schema_messages)
        return _request(messages, asked, response_schema=schema)

    def reader(self) -> Reader:
        """Return a reader."""
        return _SchemaReader()


class _SchemaReader:
    def __init__(self) -> None:
        self._reader = ReplyReader()

    def feed(self, piece: str) -> str:
        return self._reader.feed(piece)

    def end(self, _completion: Completion) -> Reply:
        return self._reader.end()


class DialectChoice:
    """Which dialect the endpoint speaks, for all questions of a process.

    With `auto` the endpoint's own calls are tried until it shows what it knows: one that calls a tool has them; one
    that refuses the request, or calls nothing by itself but does so by schema, has them not.
    """

    def __init__(self, setting: ToolCalls) -> None:
        self._auto = setting == "auto"
        self._schema = setting == "json_schema"
        self._proven = setting != "auto"

    def of(self, loop: Loop, *, refused: bool) -> Dialect:
        """Return the dialect of the next request of a question."""
        fallen_back = self._auto and (refused or any(turn.taken_back for turn in loop.turns))
        return RepliesBySchema() if self._schema or fallen_back else NativeCalls()

    def may_fall_back(self, dialect: Dialect) -> bool:
        """Tell whether a refusal of tools is answered by the other dialect."""
        return self._auto and isinstance(dialect, NativeCalls)

    def doubts(self, dialect: Dialect, loop: Loop) -> bool:
        """Tell whether a first turn without calls may mean that the endpoint knows none."""
        return not self._proven and isinstance(dialect, NativeCalls) and not loop.turns

    def called(self, dialect: Dialect) -> None:
        """Take note that the model called a tool in this dialect."""
        if not self._proven:
            self._proven, self._schema = True, isinstance(dialect, RepliesBySchema)


Render = Callable[[Loop, Asked, int], list[ChatMessage]]


def _request(messages: Sequence[ChatMessage], asked: Asked, **fields: Any) -> ChatRequest:
    return ChatRequest(
        messages,
        max_output_tokens=asked.max_output_tokens,
        temperature=asked.temperature,
        prompt_version=AGENT_PROMPT_VERSION,
        **fields,
    )


def _fitting(loop: Loop, asked: Asked, room: int, count: CountTokens, render: Render) -> list[ChatMessage]:
    """Return the messages; while they do not fit, the oldest result that is still there is left out."""
    for left_out in range(sum(len(turn.results) for turn in loop.turns) + 1):
        messages = render(loop, asked, left_out)
        if tokens_of(messages, count) <= room:
            return messages
    raise ContextTooLong("the question and the results of its tools do not fit into the model's window")


def tokens_of(messages: Sequence[ChatMessage], count: CountTokens) -> int:
    """Return how many tokens messages take up."""
    return sum(
        count(message.content) + sum(count(f"{call.name} {call.arguments}") for call in message.tool_calls)
        for message in messages
    )


def _native_messages(loop: Loop, asked: Asked, left_out: int) -> list[ChatMessage]:
    messages = [ChatMessage("system", rules(asked.mark)), ChatMessage("user", f"Question: {asked.question}")]
    for place, (turn, shown) in enumerate(_shown_turns(loop, asked.mark, left_out)):
        # Ids of our own: some endpoints begin to count anew with each turn.
        calls = tuple(ToolCall(f"call_{place}_{n}", call.name, call.arguments) for n, call in enumerate(turn.calls))
        messages.append(ChatMessage("assistant", turn.text, calls))
        for call, text in zip(calls, shown, strict=True):
            messages.append(ChatMessage("tool", text, tool_call_id=call.id))
    return [*messages, ChatMessage("user", LAST_REQUEST)] if asked.last else messages


def _schema_messages(loop: Loop, asked: Asked, left_out: int) -> list[ChatMessage]:
    messages = [
        ChatMessage("system", rules(asked.mark, asked.tools)),
        ChatMessage("user", f"Question: {asked.question}"),
    ]
    for turn, shown in _shown_turns(loop, asked.mark, left_out):
        texts = [
            f"Call {number}, {call.name or 'not readable'}:\n{text}"
            for number, (call, text) in enumerate(zip(turn.calls, shown, strict=True), 1)
        ]
        messages += [ChatMessage("assistant", _as_reply(turn)), ChatMessage("user", "\n\n".join(texts))]
    return [*messages, ChatMessage("user", LAST_REQUEST)] if asked.last else messages


def _shown_turns(loop: Loop, mark: str, left_out: int) -> list[tuple[Turn, list[str]]]:
    """Return the turns that called tools, with what the model is shown of each result."""
    numbers = _numbers(loop)
    turns: list[tuple[Turn, list[str]]] = []
    for turn in loop.turns:
        texts = []
        for call, result in zip(turn.calls, turn.results, strict=True):
            texts.append(_shown(call.name, result, numbers, mark, left_out=left_out > 0))
            left_out -= 1
        if turn.calls:
            turns.append((turn, texts))
    return turns


def _numbers(loop: Loop) -> dict[str, int]:
    return {passage.chunk_id: number for number, passage in enumerate(loop.passages, 1)}


def _as_reply(turn: Turn) -> str:
    calls = ", ".join(f'{{"tool": "{call.name}", "arguments": {call.arguments or "{}"}}}' for call in turn.calls)
    return f'{{"tool_calls": [{calls}], "answer": ""}}'


def _shown(tool: str, result: ToolResult | None, numbers: dict[str, int], mark: str, *, left_out: bool) -> str:
    if result is None:
        raise ValueError("a call without a result cannot be shown")
    if result.ours:
        return result.text
    if left_out:
        return LEFT_OUT
    blocks = [numbered_passage(numbers[passage.chunk_id], passage, mark) for passage in result.passages]
    return "\n\n".join([*blocks, *([bounded_result(tool, result.text, mark)] if result.text else [])])
