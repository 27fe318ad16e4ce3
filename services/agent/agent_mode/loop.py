"""The tool loop as a state: what was said and done for a question so far, and what comes next.

A loop only grows: a turn is what the model said to one request, with a result for each call it asked for. Everything
else (what the model is sent, what the caller is told, what was spent) follows from it, so that an agent which is handed
the loop of another one goes on where that one stopped.

    ask the model ──► calls? ──yes──► run those without a result ──► ask the model …
          ▲             └──no──► the text is the answer
          └── without tools, for the last time, once a budget would not pay for two more requests
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import Field

from contracts.messages import Message
from contracts.retrieval import RetrievedChunk
from services.agent.llm import Usage

Budget = Literal["steps", "tokens", "time", "cost"]
# What an answer may stand on: passages whose search found enough evidence, too little of it, passages that were read
# where they stand, or the result of a tool that no passage stands for.
Evidence = Literal["none", "weak", "found", "read", "fact"]
TELLING: Final[frozenset[Evidence]] = frozenset({"found", "read", "fact"})
MAX_TOLD_CHARACTERS: Final = 300


class Call(Message):
    """A call as the model asked for it; `arguments` is JSON, or what the model wrote in its place."""

    name: str
    arguments: str


class ToolResult(Message):
    """What became of a call: `text` and `passages` are for the model, `summary` for whoever reads the steps.

    `ours` marks a text of the platform's own, which is an instruction; every other text is data. An answer that holds
    one of the `statements` states the result. `passing` marks a failure that may be over the next time; `away` is the
    code of a service that did not answer.
    """

    text: str = ""
    ours: bool = False
    statements: tuple[str, ...] = ()
    passages: tuple[RetrievedChunk, ...] = ()
    summary: str = ""
    evidence: Evidence = "none"
    embedding_model: str = ""
    failed: bool = False
    passing: bool = False
    away: str | None = None
    duration_ms: float = 0.0


class Turn(Message):
    """What the model said to one request, and the results of the calls it asked for, in their order.

    `ended_by` is the budget because of which no tools were offered. A turn that was `taken_back` is asked for again in
    another way: it cost what it cost, and says nothing.
    """

    text: str
    calls: tuple[Call, ...] = ()
    results: tuple[ToolResult | None, ...] = ()
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    duration_ms: float = 0.0
    ended_by: Budget | None = None
    taken_back: bool = False

    @property
    def open_calls(self) -> tuple[int, ...]:
        """Return the places of the calls without a result."""
        return tuple(place for place, result in enumerate(self.results) if result is None)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one answer may cost: requests with tools, tokens, seconds from the question's start, and money (0 = any).

    `answer_seconds` of the time are kept for the last request. Prices are for a million tokens.
    """

    steps: int
    tokens: int
    seconds: float
    answer_seconds: float
    cost: float = 0.0
    input_price: float = 0.0
    output_price: float = 0.0

    def price(self, input_tokens: int, output_tokens: int) -> float:
        """Return what a request costs."""
        return (input_tokens * self.input_price + output_tokens * self.output_price) / 1_000_000


@dataclass(frozen=True, slots=True)
class Request:
    """What the next request to the model would take: tokens sent, tokens written at most, and what one turn adds."""

    input_tokens: int
    output_tokens: int
    growth_tokens: int


@dataclass(frozen=True, slots=True)
class AskModel:
    """Ask the model; `ended_by` names the budget because of which it gets no tools."""

    ended_by: Budget | None


@dataclass(frozen=True, slots=True)
class RunCalls:
    """Find a result for each of these calls of the last turn."""

    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Finish:
    """The text of the last turn is the answer."""


Action = AskModel | RunCalls | Finish


class Loop(Message):
    """The turns of one question; `started_at` is unix seconds, `closed_by` the budget that was found to be spent."""

    started_at: float
    turns: tuple[Turn, ...] = ()
    closed_by: Budget | None = Field(default=None)

    def said(self, turn: Turn) -> "Loop":
        """Return the loop after the model's turn; ValueError while calls of the turn before are open."""
        if self.turns and self.turns[-1].open_calls:
            raise ValueError("calls of the last turn have no result yet")
        return self.model_copy(update={"turns": (*self.turns, turn)})

    def answered(self, place: int, result: ToolResult) -> "Loop":
        """Return the loop after a call of the last turn got its result; ValueError for one that has one."""
        last = self.turns[-1]
        if place not in last.open_calls:
            raise ValueError(f"call {place} of the last turn waits for no result")
        results = tuple(result if number == place else one for number, one in enumerate(last.results))
        return self.model_copy(update={"turns": (*self.turns[:-1], last.model_copy(update={"results": results}))})

    def closed(self, budget: Budget) -> "Loop":
        """Return the loop that offers no more tools because of a budget."""
        return self.model_copy(update={"closed_by": self.closed_by or budget})

    @property
    def usage(self) -> Usage:
        """Return what all requests cost together."""
        spent = (Usage(turn.input_tokens, turn.output_tokens, turn.cost, calls=1) for turn in self.turns)
        return sum(spent, Usage())

    @property
    def results(self) -> Iterator[ToolResult]:
        """Yield every result there is, in the order of the calls."""
        return (result for turn in self.turns for result in turn.results if result is not None)

    @property
    def passages(self) -> list[RetrievedChunk]:
        """Return every passage that tools returned, once each; a passage's number is its place, counted from 1."""
        found = {passage.chunk_id: passage for result in self.results for passage in result.passages}
        return list(found.values())

    @property
    def telling(self) -> bool:
        """Tell whether there is anything that an answer could stand on."""
        return any(result.evidence in TELLING for result in self.results)

    def next_action(self, limits: Limits, request: Request, *, now: float, until: float) -> Action:
        """Return what comes next; `until` is when the question expires, in unix seconds like `now`."""
        last = self.turns[-1] if self.turns else None
        if last is not None and last.open_calls:
            return RunCalls(last.open_calls)
        if last is not None and (last.ended_by or not (last.calls or last.taken_back)):
            return Finish()
        return AskModel(self.closed_by or self._spent(limits, request, now=now, until=until))

    def tools_until(self, limits: Limits, until: float) -> float:
        """Return when tools and requests with tools have to end, in unix seconds."""
        return min(self.started_at + limits.seconds, until) - limits.answer_seconds

    def _spent(self, limits: Limits, request: Request, *, now: float, until: float) -> Budget | None:
        """Return the budget that does not pay for a request with tools and for the last one behind it."""
        if len(self.turns) >= limits.steps:
            return "steps"
        if now >= self.tools_until(limits, until):
            return "time"
        sent = 2 * request.input_tokens + request.growth_tokens
        written = 2 * request.output_tokens
        usage = self.usage
        if usage.input_tokens + usage.output_tokens + sent + written > limits.tokens:
            return "tokens"
        if limits.cost and usage.cost + limits.price(sent, written) > limits.cost:
            return "cost"
        return None

    def repeats(self, place: int) -> bool:
        """Tell whether a call of the last turn was made before and would bring the same again."""
        turn = self.turns[-1]
        wanted = _identity(turn.calls[place])
        earlier = [
            (call, result) for one in self.turns[:-1] for call, result in zip(one.calls, one.results, strict=True)
        ]
        made = [call for call, result in earlier if result is not None and not result.passing]
        return wanted in [_identity(call) for call in (*made, *turn.calls[:place])]

    @property
    def steps(self) -> list[dict[str, Any]]:
        """Return what was done, numbered from 1, up to the first call without a result; the answer is no step."""
        told: list[dict[str, Any]] = []
        for turn in self.turns:
            if turn.calls or turn.taken_back:
                told.append(_llm_step(turn))
            for call, result in zip(turn.calls, turn.results, strict=True):
                if result is None:
                    return _numbered(told)
                told.append(_tool_step(call, result))
        if self.closed_by is not None:
            told.append({"kind": "budget", "budget": self.closed_by, "result": BUDGET_WORDS[self.closed_by]})
        return _numbered(told)


BUDGET_WORDS: Final[dict[Budget, str]] = {
    "steps": "as many steps as are allowed were made; answered from what was found",
    "tokens": "the tokens that are allowed are used up; answered from what was found",
    "time": "the time that is allowed is over; answered from what was found",
    "cost": "the money that is allowed is spent; answered from what was found",
}


def read_arguments(call: Call) -> Any:
    """Return a call's arguments as a value; ValueError when they are not JSON."""
    try:
        return json.loads(call.arguments or "{}", parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _identity(call: Call) -> tuple[str, str]:
    try:
        return call.name, json.dumps(read_arguments(call), sort_keys=True)
    except ValueError:
        return call.name, call.arguments


def _llm_step(turn: Turn) -> dict[str, Any]:
    names = ", ".join(call.name[:64] or "nothing that can be read" for call in turn.calls)
    said = "called no tool; asked again for a reply by schema" if turn.taken_back else f"calls {names}"
    return {"kind": "llm", "result": said[:MAX_TOLD_CHARACTERS], "duration_ms": turn.duration_ms}


def _tool_step(call: Call, result: ToolResult) -> dict[str, Any]:
    try:
        arguments = read_arguments(call)
    except ValueError:
        arguments = call.arguments
    if len(call.arguments) > MAX_TOLD_CHARACTERS or not isinstance(arguments, dict):
        arguments = {"unread": call.arguments[:MAX_TOLD_CHARACTERS]}
    return {
        "kind": "tool",
        "tool": call.name[:64],
        "arguments": arguments,
        "result": result.summary[:MAX_TOLD_CHARACTERS],
        "failed": result.failed,
        "duration_ms": result.duration_ms,
    }


def _numbered(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"n": number, **step} for number, step in enumerate(told, 1)]
