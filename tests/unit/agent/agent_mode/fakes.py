"""A model that plays a script, checkpoints in memory and tools of a few lines."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import NoOpTracerProvider

from contracts.queries import Answer
from services.agent.agent_mode.agent import AgentLimits, Parts, ToolAgent
from services.agent.agent_mode.dialect import DialectChoice, ToolCalls
from services.agent.agent_mode.loop import Limits, Loop, ToolResult
from services.agent.agent_mode.tool import AgentTool, CallContext
from services.agent.agent_mode.toolbox import Toolbox
from services.agent.events import AnswerEvents, Told
from services.agent.llm import ChatRequest, Completion, Tool, ToolCall, Usage
from services.agent.metrics import AgentMetrics
from shared.errors import TakenOver
from tests.unit.agent.library import Library, Streams, question_of

QUESTION = "When did the harbour of Lindby open?"
CALCULATE = ("calculate", {"expression": "6*7"})
SEARCH = ("search_documents", {"query": QUESTION})


def calls(*wanted: tuple[str, Any], text: str = "") -> Completion:
    made = tuple(
        ToolCall(f"c{n}", name, arguments if isinstance(arguments, str) else json.dumps(arguments))
        for n, (name, arguments) in enumerate(wanted)
    )
    return Completion(text, "tool_calls", Usage(100, 10, 0.5, 1), made)


def says(text: str) -> Completion:
    return Completion(text, "stop", Usage(100, 10, 0.5, 1))


def reply_by_schema(*wanted: tuple[str, Any], answer: str = "") -> Completion:
    listed = [{"tool": name, "arguments": arguments} for name, arguments in wanted]
    return says(json.dumps({"tool_calls": listed, "answer": answer}))


Said = Completion | Exception | Callable[[ChatRequest], Completion]


class PlayedModel:
    """Says the next line of the script for each request; a token is a word."""

    name = "played"

    def __init__(self, *script: Said, window_tokens: int = 20_000) -> None:
        self.script = list(script)
        self.window_tokens = window_tokens
        self.requests: list[ChatRequest] = []

    async def stream(self, request: ChatRequest, *, deadline: float | None = None) -> AsyncGenerator[str | Completion]:
        self.requests.append(request)
        said = self.script.pop(0)
        if isinstance(said, Exception):
            raise said
        completion = said if isinstance(said, Completion) else said(request)
        for place in range(0, len(completion.text), 7):
            yield completion.text[place : place + 7]
            await asyncio.sleep(0)
        yield completion

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    async def close(self) -> None:
        """Do nothing."""


class HangingModel(PlayedModel):
    """Says the last line of its script only half."""

    def __init__(self, *script: Said) -> None:
        super().__init__(*script)
        self.hangs = asyncio.Event()

    async def stream(self, request: ChatRequest, *, deadline: float | None = None) -> AsyncGenerator[str | Completion]:
        last = len(self.script) == 1
        async for piece in super().stream(request, deadline=deadline):
            if last and isinstance(piece, str) and len(piece) == 7:
                yield piece
                await asyncio.sleep(0.05)
                self.hangs.set()
                await asyncio.Event().wait()
            yield piece


class MemoryCheckpoints:
    """Keeps loops by question; `saved` are all that were ever kept."""

    def __init__(self) -> None:
        self.loops: dict[str, Loop | None] = {}
        self.owners: dict[str, object] = {}
        self.saved: list[Loop] = []
        self.dropped: list[str] = []

    async def open(self, query_id: str, tenant: str) -> "MemoryCheckpoint":
        return MemoryCheckpoint(self, query_id)


class MemoryCheckpoint:
    def __init__(self, all_: MemoryCheckpoints, query_id: str) -> None:
        self._all, self._query_id = all_, query_id
        self.loop = all_.loops.get(query_id)
        all_.owners[query_id] = self

    async def save(self, loop: Loop) -> None:
        if self._all.owners[self._query_id] is not self:
            raise TakenOver("another one is at work")
        # What cannot be written down is no checkpoint.
        kept = Loop.model_validate_json(loop.model_dump_json(exclude_none=True))
        assert kept == loop
        self._all.loops[self._query_id] = kept
        self._all.saved.append(kept)

    async def drop(self) -> None:
        self._all.loops.pop(self._query_id, None)
        self._all.dropped.append(self._query_id)


class MadeTool:
    """A tool that does what `act` does, and counts."""

    def __init__(self, name: str, act: Callable[[Mapping[str, Any]], Any], parameters: Any = None) -> None:
        self.told = Tool(name, f"Does {name}.", parameters or {"type": "object"})
        self.act = act
        self.calls: list[Mapping[str, Any]] = []
        self.contexts: list[CallContext] = []

    async def __call__(self, arguments: Mapping[str, Any], context: CallContext) -> ToolResult:
        self.calls.append(arguments)
        self.contexts.append(context)
        made = self.act(arguments)
        if hasattr(made, "__await__"):
            made = await made
        return made if isinstance(made, ToolResult) else ToolResult(text=str(made), summary=str(made), evidence="fact")


def limits_of(**fields: Any) -> AgentLimits:
    budgets = {"steps": 8, "tokens": 1_000_000, "seconds": 30.0, "answer_seconds": 5.0}
    bounds = {
        "max_output_tokens": 50,
        "temperature": 0.0,
        "delta_seconds": 0.0,
        "calls_per_turn": 4,
        "tool_seconds": 5.0,
        "result_bytes": 4_000,
    }
    own = {name: value for name, value in fields.items() if name in bounds}
    return AgentLimits(
        budgets=Limits(**{**budgets, **{name: value for name, value in fields.items() if name not in bounds}}),
        **{**bounds, **own},
    )


class Stand:
    """An agent with everything around it."""

    def __init__(
        self,
        model: PlayedModel,
        *tools: MadeTool,
        library: Library | None = None,
        dialect: ToolCalls = "native",
        **limits: Any,
    ) -> None:
        self.model, self.library, self.streams = model, library or Library(), Streams()
        self.checkpoints = MemoryCheckpoints()
        others: dict[str, AgentTool] = {tool.told.name: tool for tool in tools}

        async def find() -> dict[str, AgentTool]:
            return others

        self.limits = limits_of(**limits)
        self.parts = Parts(
            model=model,
            toolbox=Toolbox(self.library, find, max_bytes=self.limits.result_bytes),
            checkpoints=self.checkpoints,
            dialects=DialectChoice(dialect),
            ask=self.library,
            metrics=AgentMetrics(NoOpMeterProvider().get_meter("test")),
            tracer=NoOpTracerProvider().get_tracer("test"),
            limits=self.limits,
        )

    async def ask(
        self, text: str = QUESTION, *, told: Told | None = None, deadline: float | None = None, **fields: Any
    ) -> Answer:
        question = question_of(text, mode="agent", **fields)
        events = AnswerEvents(self.streams.publish, question, {}, told or await self.streams.recall(question.query_id))
        return await ToolAgent(self.parts).answer(question, events, deadline)

    @property
    def events(self) -> list[tuple[str, dict[str, Any]]]:
        return [(event.type, event.data) for event in self.streams.events()]

    @property
    def told_text(self) -> str:
        return Told(tuple(self.streams.events())).text

    def last_messages(self) -> str:
        return "\n".join(message.content for message in self.model.requests[-1].messages)
