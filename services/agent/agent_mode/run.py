"""One question on its way through the tool loop."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from opentelemetry.trace import SpanKind, Status, StatusCode

from contracts.queries import Answer, AskQuestion
from services.agent.agent_mode.checkpoints import Checkpoint
from services.agent.agent_mode.dialect import Asked, Dialect, tokens_of
from services.agent.agent_mode.final_text import FinalText
from services.agent.agent_mode.loop import AskModel, Budget, Loop, Request, RunCalls, ToolResult, Turn
from services.agent.agent_mode.reply_reader import Reply
from services.agent.agent_mode.tool import CallContext, Tools, planned, run, until
from services.agent.deltas import Deltas
from services.agent.events import AnswerEvents
from services.agent.grounding import settle
from services.agent.llm import ChatRequest, Completion, ContextTooLong, LlmRefused, LlmUnavailable
from services.agent.packing import context_budget
from services.agent.prompts import boundary_mark
from services.agent.writer import nothing_found
from shared import semantics
from shared.errors import DeadlineExpired, Unavailable
from shared.telemetry import span

if TYPE_CHECKING:
    from services.agent.agent_mode.agent import Parts

# Each time the endpoint finds a request too long, this part of its room stays.
SHRINK: Final = 0.6
MAX_SHRINKS: Final = 3
# A question without a deadline comes from a test or a tool of ours.
_NO_DEADLINE_SECONDS: Final = 3_600.0


class Run:
    """Does what the loop asks for until it is finished; used once."""

    def __init__(
        self,
        parts: "Parts",
        question: AskQuestion,
        events: AnswerEvents,
        checkpoint: Checkpoint,
        tools: Tools,
        loop: Loop,
        deadline: float | None,
    ) -> None:
        self._parts, self._limits, self._question, self._events = parts, parts.limits, question, events
        self._checkpoint, self._tools, self._loop = checkpoint, tools, loop
        self._until = deadline if deadline is not None else time.time() + _NO_DEADLINE_SECONDS
        self._saved, self._told_steps = loop, 0
        self._writing = asyncio.Lock()
        self._room = context_budget(parts.model.window_tokens, self._limits.max_output_tokens, 0)
        self._shrinks, self._refused = 0, False
        self._final: FinalText | None = None

    async def answer(self) -> Answer:
        """Return the answer; raises TakenOver when another agent has the question by now."""
        await self._keep_and_tell()
        while True:
            dialect = self._dialect
            action = self._loop.next_action(
                self._limits.budgets, self._estimate(dialect), now=time.time(), until=self._until
            )
            if isinstance(action, RunCalls):
                await self._run_calls(action.places)
            elif isinstance(action, AskModel):
                await self._ask_model(dialect, action.ended_by)
            else:
                return await self._finish()

    @property
    def _dialect(self) -> Dialect:
        return self._parts.dialects.of(self._loop, refused=self._refused)

    def _asked(self, *, last: bool) -> Asked:
        return Asked(
            question=self._question.question,
            mark=boundary_mark(self._question.query_id),
            tools=[tool.told for tool in self._tools.values()],
            calls_per_turn=self._limits.calls_per_turn,
            max_output_tokens=self._limits.max_output_tokens,
            temperature=self._limits.temperature,
            last=last,
        )

    def _estimate(self, dialect: Dialect) -> Request:
        """Return what the next request would take; nothing is estimated while calls are open."""
        if self._loop.turns and self._loop.turns[-1].open_calls:
            return Request(0, 0, 0)
        count = self._parts.model.count_tokens
        request = self._request(dialect, last=False)
        sent = tokens_of(request.messages, count) + sum(count(str(tool.parameters)) for tool in request.tools)
        growth = min(self._limits.growth_tokens, max(0, self._room - sent))
        return Request(sent, self._limits.max_output_tokens, growth)

    def _request(self, dialect: Dialect, *, last: bool) -> ChatRequest:
        return dialect.request(self._loop, self._asked(last=last), self._room, self._parts.model.count_tokens)

    async def _ask_model(self, dialect: Dialect, ended_by: Budget | None) -> None:
        if ended_by is not None and self._loop.closed_by is None:
            await self._close(ended_by)
        started = time.perf_counter()
        said = await self._try_model(dialect, ended_by)
        if said is None:
            return
        reply, completion = said
        choice, calls = self._parts.dialects, () if ended_by is not None else reply.calls
        if any(call.name for call in calls):
            choice.called(dialect)
        turn = Turn(
            text=reply.text,
            calls=calls,
            results=(None,) * len(calls),
            input_tokens=completion.usage.input_tokens,
            output_tokens=completion.usage.output_tokens,
            cost=completion.usage.cost,
            duration_ms=(time.perf_counter() - started) * 1000,
            ended_by=ended_by,
            taken_back=ended_by is None and not calls and choice.doubts(dialect, self._loop),
        )
        self._loop = self._loop.said(turn)
        await self._keep_and_tell()

    async def _try_model(self, dialect: Dialect, ended_by: Budget | None) -> tuple[Reply, Completion] | None:
        """Return what the model said; None when it has to be asked in another way, which the next request does."""
        tools_until = self._loop.tools_until(self._limits.budgets, self._until)
        try:
            with self._events.waiting_for_model():
                return await self._stream(dialect, ended_by, tools_until)
        except ContextTooLong:
            self._shrinks += 1
            if self._shrinks > MAX_SHRINKS:
                raise
            self._room = int(min(self._room, self._estimate(dialect).input_tokens) * SHRINK)
        except LlmRefused:
            if ended_by is not None or self._refused or not self._parts.dialects.may_fall_back(dialect):
                raise
            self._refused = True
            await self._events.take_back()
        except (LlmUnavailable, DeadlineExpired):
            if ended_by is not None or time.time() < tools_until:
                raise
            await self._events.take_back()
            await self._close("time")
        return None

    async def _close(self, budget: Budget) -> None:
        self._parts.metrics.ended_by_budget.add(1, {"budget": budget})
        self._loop = self._loop.closed(budget)
        await self._keep_and_tell()

    async def _stream(self, dialect: Dialect, ended_by: Budget | None, tools_until: float) -> tuple[Reply, Completion]:
        """Return what the model said; its text is passed on while it comes where it may be an answer."""
        reader, final, shown = dialect.reader(), FinalText(self._loop.passages), self._loop.telling
        request = self._request(dialect, last=ended_by is not None)
        deadline = tools_until if ended_by is None else self._until
        completion: Completion | None = None
        async with Deltas(self._events.send_text, interval_seconds=self._limits.delta_seconds) as deltas:
            async with aclosing(self._parts.model.stream(request, deadline=deadline)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Completion):
                        completion = piece
                    elif shown:
                        deltas.add(final.feed(reader.feed(piece)))
                    else:
                        reader.feed(piece)
            if completion is None:
                raise LlmUnavailable("the language model's answer broke off")
            reply = reader.end(completion)
            if shown and (ended_by is not None or not reply.calls):
                deltas.add(final.end())
        if shown and (ended_by is not None or not reply.calls):
            self._final = final
        elif shown:
            await self._events.take_back()
        return reply, completion

    async def _run_calls(self, places: tuple[int, ...]) -> None:
        tasks = [asyncio.create_task(self._run_call(place)) for place in places]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _run_call(self, place: int) -> None:
        call = self._loop.turns[-1].calls[place]
        plan = planned(self._loop, place, self._tools, self._limits.calls_per_turn)
        # A name that the model made up must not become a label or the name of a span.
        name = call.name if call.name in self._tools else "unknown"
        attributes = {semantics.GEN_AI_OPERATION: "execute_tool", semantics.GEN_AI_TOOL: name}
        with span(self._parts.tracer, semantics.tool(name), SpanKind.INTERNAL, attributes=attributes) as current:
            if isinstance(plan, ToolResult):
                result = plan
            else:
                tools_until = self._loop.tools_until(self._limits.budgets, self._until)
                context = CallContext(self._question, tools_until, self._events.correlation_id)
                result = await run(*plan, until(context, self._limits.tool_seconds))
            if result.failed:
                current.set_status(Status(StatusCode.ERROR, result.summary[:80]))
        self._parts.metrics.tool_calls.add(1, {"tool": name, "outcome": "failed" if result.failed else "ok"})
        self._loop = self._loop.answered(place, result)
        await self._keep_and_tell()

    async def _keep_and_tell(self) -> None:
        """Keep what is new, then tell of it; calls that end together are kept by one write."""
        async with self._writing:
            if self._saved is not self._loop:
                loop = self._loop
                await self._checkpoint.save(loop)
                self._saved = loop
            steps = self._saved.steps
            for step in steps[self._told_steps :]:
                await self._events.send("step", step)
            self._told_steps = len(steps)

    async def _finish(self) -> Answer:
        final = self._final or self._written()
        usage, steps = self._loop.usage.told(), self._loop.steps
        if final.says_nothing:
            return await self._nothing(usage, steps)
        added = final.cite_best()
        model = next((result.embedding_model for result in self._loop.results if result.embedding_model), None)
        await settle(final.cited, self._parts.ask, model, self._until)
        supported = final.supported(self._loop)
        if not supported:
            self._require_services()
        if self._final is None and not supported:
            return await self._nothing(usage, steps)
        text = added if self._final is not None else final.cited.text
        if text:
            await self._events.send_text(text)
        await self._events.end_text()
        self._parts.metrics.invented_markers.add(final.cited.invented)
        usage["invented_markers"] = final.cited.invented
        return Answer(answer=final.cited.text, answered=supported, citations=final.citations, steps=steps, usage=usage)

    def _written(self) -> FinalText:
        """Return the text of the last turn, which was held back or comes from another agent."""
        final = FinalText(self._loop.passages)
        final.feed(self._loop.turns[-1].text)
        final.end()
        return final

    async def _nothing(self, usage: Mapping[str, float], steps: list[dict[str, object]]) -> Answer:
        self._require_services()
        answer = await nothing_found(self._events)
        return answer.model_copy(update={"usage": dict(usage), "steps": steps})

    def _require_services(self) -> None:
        """Raise Unavailable when the lack of an answer may be the lack of a service."""
        away = next((result.away for result in self._loop.results if result.away), None)
        if away is not None and not self._loop.telling:
            raise Unavailable("the tools of the agent were not available")
