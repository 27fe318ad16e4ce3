"""What a tool of the agent is, and what becomes of a call that goes wrong.

A model reads what it can do about a failure, never the failure's own words: those are for the log.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, best_match
from referencing import Registry

from contracts.queries import AskQuestion
from services.agent.agent_mode.loop import Call, Loop, ToolResult, read_arguments
from services.agent.llm import Tool
from shared.errors import DeadlineExpired, NotFound, Rejected, Retryable, TakenOver
from shared.logs import get_logger

log = get_logger(__name__)

MAX_ARGUMENT_CHARACTERS: Final = 8_192
_MAX_HINT_CHARACTERS: Final = 240
_MAX_SCHEMA_PARTS: Final = 5_000
# A pattern can keep a processor busy for ever with a text that a model wrote; a tool checks its own.
_UNCHECKED: Final = frozenset({"pattern", "patternProperties"})
# Below these the keys are names of somebody's own choice.
_NAMED: Final = frozenset({"properties", "$defs", "definitions", "dependentSchemas"})


@dataclass(frozen=True, slots=True)
class CallContext:
    """On whose behalf a tool is called; `deadline` is unix seconds, `correlation_id` is shared by a request's work."""

    question: AskQuestion
    deadline: float
    correlation_id: str = ""


class AgentTool(Protocol):
    """Something that the agent can have done."""

    @property
    def told(self) -> Tool:
        """Return what the model is told of it."""
        ...

    async def __call__(self, arguments: Mapping[str, Any], context: CallContext) -> ToolResult:
        """Return the result; may raise anything, arguments fulfil the schema."""
        ...


Tools = Mapping[str, AgentTool]


class ToolFailed(Exception):
    """A tool could not do it; the message is an instruction that the model may read."""


def check_schema(schema: Any) -> Mapping[str, Any]:
    """Return a JSON Schema of an object that arguments can be checked by; ValueError says why it is none."""
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise ValueError('it has to be a JSON Schema with "type": "object"')
    try:
        Draft202012Validator.check_schema(schema)
    except (SchemaError, RecursionError) as error:
        raise ValueError(f"it is no JSON Schema: {getattr(error, 'message', 'nested too deeply')[:200]}") from None
    _require_plain(schema)
    return schema


def planned(
    loop: Loop, place: int, tools: Tools, calls_per_turn: int
) -> tuple[AgentTool, Mapping[str, Any]] | ToolResult:
    """Return the tool and the arguments of a call of the last turn, or the result of one that must not be made."""
    call = loop.turns[-1].calls[place]
    if place >= calls_per_turn:
        text = f"Not done: only {calls_per_turn} calls are made at once. Call it again if you still need it."
        return ToolResult(text=text, ours=True, summary="put off", failed=True, passing=True)
    if not call.name:
        return refused("Your reply had not the agreed form. Reply again in exactly that form.")
    if call.name not in tools:
        return refused(f"There is no tool of this name. You have: {', '.join(tools)}.", "unknown tool")
    if loop.repeats(place):
        return refused(
            "You made exactly this call before; its result is above and would be the same. Use it, call something else,"
            " or answer.",
            "repeated call",
        )
    return _checked(call, tools[call.name])


async def run(tool: AgentTool, arguments: Mapping[str, Any], context: CallContext) -> ToolResult:
    """Return a tool's result, or what the model is told of its failure; raises TakenOver alone."""
    name, started = tool.told.name, time.perf_counter()
    result = await _guarded(tool, arguments, context, name)
    return result.model_copy(update={"duration_ms": (time.perf_counter() - started) * 1000})


async def _guarded(tool: AgentTool, arguments: Mapping[str, Any], context: CallContext, name: str) -> ToolResult:
    left = context.deadline - time.time()
    try:
        async with asyncio.timeout(max(0.0, left)):
            return await tool(arguments, context)
    except TakenOver:
        raise
    except ToolFailed as error:
        return refused(str(error))
    except NotFound:
        return refused("Nothing of this name can be found. Check it against search_documents or list_documents.")
    except Rejected as error:
        where = f" ({error.field})" if error.field else ""
        return refused(f"The tool does not accept this{where}: {error.message[:_MAX_HINT_CHARACTERS]}")
    except (TimeoutError, DeadlineExpired):
        log.warning("tool_too_slow", tool=name)
        return _passing(f"{name} did not answer in time. Ask for less, or go on without it.", "timed out", "timeout")
    except Retryable as error:
        log.warning("tool_away", tool=name, error=error.error_code)
        return _passing(f"{name} is not available now. Go on without it.", "not available", error.error_code)
    except Exception as error:  # Whatever a tool raises must not end the question, nor reach the model in its words.
        log.error("tool_fault", tool=name, exc_info=error)
        return refused(f"{name} failed. Go on without it.", "failed")


def refused(text: str, summary: str | None = None) -> ToolResult:
    """Return the result of a call that led to nothing, with what the model can do about it."""
    return ToolResult(text=text, ours=True, summary=summary or text, failed=True)


def _passing(text: str, summary: str, away: str) -> ToolResult:
    return ToolResult(text=text, ours=True, summary=summary, failed=True, passing=True, away=away)


def _checked(call: Call, tool: AgentTool) -> tuple[AgentTool, Mapping[str, Any]] | ToolResult:
    if len(call.arguments) > MAX_ARGUMENT_CHARACTERS:
        return refused("The arguments are too long. Shorten them.", "arguments too long")
    try:
        arguments = read_arguments(call)
    except ValueError:
        return refused("The arguments are not valid JSON. Write one JSON object.", "arguments are not JSON")
    validator = Draft202012Validator(_without_patterns(tool.told.parameters), registry=Registry())
    try:
        problem = best_match(validator.iter_errors(arguments))
    except Exception as error:  # A schema from elsewhere may refer to what it does not hold.
        log.warning("tool_schema_not_usable", tool=call.name, reason=type(error).__name__)
        return refused(f"{call.name} cannot be used. Go on without it.", "its schema cannot be used")
    if problem is not None:
        where = ".".join(str(part) for part in problem.absolute_path) or "arguments"
        return refused(
            f"Wrong arguments: {where}: {problem.message[:_MAX_HINT_CHARACTERS]}. Correct them and call again."
        )
    return tool, arguments


def _require_plain(schema: Mapping[str, Any]) -> None:
    """Raise ValueError for a schema that would take long to check by: its references, written out, are too much."""
    definitions = schema.get("$defs", {})
    left: list[Any] = [{key: value for key, value in schema.items() if key != "$defs"}]
    for _ in range(_MAX_SCHEMA_PARTS):
        if not left:
            return
        part = left.pop()
        if isinstance(part, list):
            left += part
        elif isinstance(part, Mapping):
            left += part.values()
            reference = part.get("$ref")
            if "$dynamicRef" in part or reference is not None:
                name = str(reference).removeprefix("#/$defs/")
                if name not in definitions:
                    raise ValueError('it refers to something else than its own "$defs"')
                left.append(definitions[name])
    raise ValueError("it is too large, or refers to itself")


def _without_patterns(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_patterns(one) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {
        key: {name: _without_patterns(one) for name, one in value.items()}
        if key in _NAMED and isinstance(value, Mapping)
        else _without_patterns(value)
        for key, value in schema.items()
        if key not in _UNCHECKED
    }


def until(context: CallContext, seconds: float) -> CallContext:
    """Return the context with a deadline at most so many seconds from now."""
    return replace(context, deadline=min(context.deadline, time.time() + seconds))
