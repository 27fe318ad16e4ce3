"""What an agent that takes a question over does again, and what it does not."""

import asyncio
from typing import Any

import pytest

from services.agent.agent_mode.agent import ToolAgent
from services.agent.agent_mode.loop import ToolResult
from services.agent.answering import Answering
from services.agent.events import AnswerEvents
from services.agent.extractive_writer import ExtractiveWriter
from tests.unit.agent.agent_mode.fakes import (
    CALCULATE,
    SEARCH,
    HangingModel,
    MadeTool,
    PlayedModel,
    Stand,
    calls,
    says,
)
from tests.unit.agent.library import conversations_of, question_of

WRITTEN = "The harbour of Lindby opened in 1887 [1]."


def kinds(stand: Stand) -> list[str]:
    return [data.get("kind", kind) if kind == "step" else kind for kind, data in stand.events]


async def test_a_finished_step_is_never_repeated_by_the_next_agent() -> None:
    """INVARIANT: effects happen once. An agent that takes over goes on behind the last result that was kept."""
    tool = MadeTool("count", lambda arguments: ToolResult(text=str(arguments["n"]), summary="so", evidence="fact"))
    gone = asyncio.Event()

    async def die(_arguments: Any) -> str:
        if not gone.is_set():
            gone.set()
            await asyncio.Event().wait()
        return "late"

    stand = Stand(
        PlayedModel(calls(("count", {"n": 1}), ("die", {}))),
        tool,
        MadeTool("die", die),
        tool_seconds=30.0,
        seconds=60.0,
    )
    first = asyncio.create_task(stand.ask())
    await asyncio.wait_for(gone.wait(), timeout=5)
    await asyncio.sleep(0.05)
    first.cancel()
    await asyncio.wait([first])
    before = stand.events
    stand.model.script = [says("It is 1.")]
    answer = await stand.ask()
    assert (answer.answer, len(tool.calls), len(stand.model.requests)) == ("It is 1.", 1, 2)
    assert stand.events[: len(before)] == before
    assert [data["n"] for kind, data in stand.events if kind == "step"] == [1, 2, 3]
    assert answer.usage["llm_calls"] == 2


@pytest.mark.parametrize("second", [WRITTEN, "In 1887 the harbour of Lindby opened [1]."])
async def test_an_answer_that_was_begun_is_gone_on_with_or_taken_back(second: str) -> None:
    """INVARIANT: effects happen once. What the caller has read of an answer is neither doubled nor mixed."""
    model = HangingModel(calls(SEARCH), says(WRITTEN))
    stand = Stand(model)
    first = asyncio.create_task(stand.ask())
    await asyncio.wait_for(model.hangs.wait(), timeout=5)
    first.cancel()
    await asyncio.wait([first])
    assert stand.told_text == WRITTEN[:7]
    stand.model.script = [says(second), says("")]
    answer = await stand.ask()
    assert stand.told_text == answer.answer == second
    assert [data["n"] for kind, data in stand.events if kind == "step" and "n" in data] == [1, 2]
    assert ("restarted" in kinds(stand)) is (second != WRITTEN)


async def test_an_answer_whose_last_request_is_kept_is_told_without_asking_again() -> None:
    stand = Stand(PlayedModel(calls(SEARCH), says(WRITTEN)))
    await stand.ask()
    kept = stand.checkpoints.saved[-1]
    stand.checkpoints.loops["q2"] = kept
    answer = await stand.ask(query_id="q2")
    assert (answer.answer, answer.answered, len(stand.model.requests)) == (WRITTEN, True, 2)


async def test_an_agent_that_was_overtaken_stops() -> None:
    from shared.errors import TakenOver

    stand = Stand(PlayedModel(calls(CALCULATE), says("42")))

    def overtaken(_request: Any) -> Any:
        stand.checkpoints.owners["q1"] = object()
        return calls(CALCULATE)

    stand.model.script = [overtaken]
    with pytest.raises(TakenOver):
        await stand.ask()
    assert stand.events == []


async def test_what_was_kept_is_forgotten_only_when_the_answer_is_told() -> None:
    """INVARIANT: effects happen once. Forgotten before, an agent that dies then would have everything done again."""
    stand = Stand(PlayedModel(calls(CALCULATE), says("42")))
    agent, kept = ToolAgent(stand.parts), []

    class Watched(AnswerEvents):
        async def send(self, kind: Any, data: Any = None) -> None:
            kept.append((kind, "q1" in stand.checkpoints.loops))
            await super().send(kind, data)

    question = question_of("What is 6 times 7?", mode="agent")
    writer = ExtractiveWriter(stand.library, max_embedded_sentences=8)
    answering = Answering(stand.library, writer, conversations_of(stand.library), agent=agent)
    await answering.answer(question, Watched(stand.streams.publish, question, {}), None)
    assert kept[-1] == ("done", True)
    assert stand.checkpoints.loops == {}
