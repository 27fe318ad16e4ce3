"""The loop as a state machine: whatever a model says and tools answer, it ends within its budgets."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.agent.agent_mode.loop import (
    AskModel,
    Call,
    Finish,
    Limits,
    Loop,
    Request,
    RunCalls,
    ToolResult,
    Turn,
)

NAMES = st.sampled_from(["search_documents", "calculate", "made_up", ""])
CALLS = st.builds(Call, name=NAMES, arguments=st.sampled_from(["{}", '{"a": 1}', "{not json", "[]", "7"]))
RESULTS = st.builds(
    ToolResult,
    text=st.text(max_size=5),
    failed=st.booleans(),
    passing=st.booleans(),
    evidence=st.sampled_from(["none", "weak", "found", "read", "fact"]),
)


class Machine:
    """Plays a question to its end; every request costs as much as was foreseen, or less."""

    def __init__(self, data: st.DataObject, limits: Limits, until: float) -> None:
        self.data, self.limits, self.until = data, limits, until
        self.loop, self.now = Loop(started_at=0.0), 0.0
        self.requests: list[AskModel] = []

    def play(self) -> None:
        for _ in range(500):
            sent = self.data.draw(st.integers(1, 400), label="input tokens")
            # What a turn adds is foreseen as well: the next request is at most so much longer.
            request = Request(sent, 50, 400 - sent)
            action = self.loop.next_action(self.limits, request, now=self.now, until=self.until)
            if isinstance(action, Finish):
                return
            if isinstance(action, RunCalls):
                self.answer(action.places)
            else:
                self.ask(action, sent)
        raise AssertionError("it does not end")

    def answer(self, places: tuple[int, ...]) -> None:
        assert places == self.loop.turns[-1].open_calls
        for place in self.data.draw(st.permutations(places), label="order of results"):
            self.loop = self.loop.answered(place, self.data.draw(RESULTS))
            with pytest.raises(ValueError, match="waits for no result"):
                self.loop.answered(place, ToolResult())
        self.now += self.data.draw(st.floats(0, 3), label="seconds of tools")

    def ask(self, action: AskModel, sent: int) -> None:
        self.requests.append(action)
        if action.ended_by is None:
            assert self.now < self.loop.tools_until(self.limits, self.until)
        else:
            self.loop = self.loop.closed(action.ended_by)
        calls = tuple(self.data.draw(st.lists(CALLS, max_size=3), label="calls")) if action.ended_by is None else ()
        written = self.data.draw(st.integers(0, 50), label="output tokens")
        taken_back = not calls and action.ended_by is None and self.data.draw(st.booleans())
        turn = Turn(
            text="said",
            calls=calls,
            results=(None,) * len(calls),
            input_tokens=sent,
            output_tokens=written,
            cost=self.limits.price(sent, written),
            ended_by=action.ended_by,
            taken_back=taken_back,
        )
        self.loop = self.loop.said(turn)
        self.now += self.data.draw(st.floats(0, 3), label="seconds of the model")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_it_ends_within_every_budget_and_answers_every_call_once(data: st.DataObject) -> None:
    limits = Limits(
        steps=data.draw(st.integers(1, 6)),
        tokens=data.draw(st.integers(1_000, 5_000)),
        seconds=data.draw(st.floats(1, 20)),
        answer_seconds=0.5,
        cost=data.draw(st.sampled_from([0.0, 0.001, 0.002])),
        input_price=1.0,
        output_price=2.0,
    )
    machine = Machine(data, limits, until=data.draw(st.floats(1, 20)))
    machine.play()
    loop, usage = machine.loop, machine.loop.usage
    assert len([one for one in machine.requests if one.ended_by is None]) <= limits.steps
    assert len([one for one in machine.requests if one.ended_by is not None]) <= 1
    # A question may always be asked once, even where that alone is more than the budget.
    assert usage.input_tokens + usage.output_tokens <= max(limits.tokens, 450)
    if limits.cost and usage.calls > 1:
        assert usage.cost <= max(limits.cost, limits.price(400, 50))
    assert all(result is not None for turn in loop.turns for result in turn.results)
    assert [step["n"] for step in loop.steps] == list(range(1, len(loop.steps) + 1))
    assert sum(step["kind"] == "tool" for step in loop.steps) == sum(len(turn.calls) for turn in loop.turns)
    assert (loop.steps[-1:] and loop.steps[-1]["kind"] == "budget") == (loop.closed_by is not None) or not loop.steps


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_loop_that_was_written_down_goes_on_the_same(data: st.DataObject) -> None:
    limits = Limits(steps=4, tokens=100_000, seconds=1_000, answer_seconds=0.5)
    machine = Machine(data, limits, until=2_000)
    machine.play()
    read = Loop.model_validate_json(machine.loop.model_dump_json(exclude_none=True))
    assert read == machine.loop
    assert read.steps == machine.loop.steps


def turn(*calls: tuple[str, Any], **fields: Any) -> Turn:
    made = tuple(Call(name=name, arguments=json.dumps(arguments)) for name, arguments in calls)
    return Turn(text="", calls=made, results=(None,) * len(made), **fields)


def test_steps_are_told_up_to_the_first_call_that_waits() -> None:
    loop = Loop(started_at=0.0).said(turn(("a", {}), ("b", {}), ("c", {})))
    loop = loop.answered(2, ToolResult(summary="c is done"))
    assert [step["kind"] for step in loop.steps] == ["llm"]
    loop = loop.answered(0, ToolResult(summary="a is done"))
    assert [step.get("tool") for step in loop.steps] == [None, "a"]
    loop = loop.answered(1, ToolResult(summary="b is done"))
    assert [step.get("tool") for step in loop.steps] == [None, "a", "b", "c"]


def test_a_turn_cannot_come_before_the_results_of_the_last_one() -> None:
    with pytest.raises(ValueError, match="no result yet"):
        Loop(started_at=0.0).said(turn(("a", {}))).said(turn())


def test_a_repeated_call_is_seen_across_turns_and_within_one_whatever_the_order_of_its_arguments() -> None:
    loop = Loop(started_at=0.0).said(turn(("a", {"x": 1, "y": 2})))
    loop = loop.answered(0, ToolResult()).said(turn(("a", {"y": 2, "x": 1}), ("a", {"x": 2}), ("a", {"x": 2})))
    assert [loop.repeats(place) for place in range(3)] == [True, False, True]


def test_a_call_that_failed_for_the_moment_may_be_made_again() -> None:
    loop = Loop(started_at=0.0).said(turn(("a", {}))).answered(0, ToolResult(failed=True, passing=True))
    assert not loop.said(turn(("a", {}))).repeats(0)


def test_what_is_told_of_a_call_is_bounded() -> None:
    loop = Loop(started_at=0.0).said(turn(("n" * 500, {"x": "y" * 5_000}))).answered(0, ToolResult(summary="z" * 5_000))
    assert len(json.dumps(loop.steps)) < 1_500
