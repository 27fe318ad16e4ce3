"""Which schemas a tool of somebody else may bring, and what is checked by them."""

import json
import time
from typing import Any

import pytest

from services.agent.agent_mode.final_text import states
from services.agent.agent_mode.loop import Call, Loop, ToolResult, Turn
from services.agent.agent_mode.nats_tools import agreed
from services.agent.agent_mode.tool import check_schema, planned
from tests.unit.agent.agent_mode.fakes import MadeTool

NESTED = {
    "type": "object",
    "properties": {"place": {"$ref": "#/$defs/place"}, "pattern": {"type": "string", "pattern": "(a+)+$"}},
    "$defs": {"place": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}},
    "additionalProperties": False,
}
DOUBLING: dict[str, Any] = {
    "type": "object",
    "$ref": "#/$defs/a0",
    "$defs": {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(40)} | {"a40": {}},
}


def plan(schema: Any, arguments: str) -> Any:
    turn = Turn(text="", calls=(Call(name="made", arguments=arguments),), results=(None,))
    return planned(Loop(started_at=0.0).said(turn), 0, {"made": MadeTool("made", str, check_schema(schema))}, 4)


def test_arguments_are_checked_also_in_their_depth() -> None:
    assert plan(NESTED, '{"place": {"city": "Lindby"}}')[1] == {"place": {"city": "Lindby"}}
    assert "place.city: 7 is not of type 'string'" in plan(NESTED, '{"place": {"city": 7}}').text
    assert "'city' is a required property" in plan(NESTED, '{"place": {}}').text
    assert "unexpected" in plan(NESTED, '{"town": 1}').text


def test_a_pattern_is_left_to_the_tool_but_an_argument_may_be_called_so() -> None:
    started = time.monotonic()
    assert plan(NESTED, json.dumps({"pattern": "a" * 40 + "!"}))[1]
    assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    "schema",
    [
        None,
        [],
        {},
        {"type": "string"},
        {"type": "object", "properties": 7},
        {"type": "object", "properties": {"a": {"$ref": "https://example.org/schema"}}},
        {"type": "object", "properties": {"a": {"$ref": "#/properties/a"}}},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"not": {"$ref": "#/$defs/a"}}}},
        {"type": "object", "properties": {"a": {"$dynamicRef": "#a"}}},
        {"type": "object", "properties": {"a": DOUBLING}, "$defs": DOUBLING["$defs"]},
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_at_once(schema: Any) -> None:
    started = time.monotonic()
    with pytest.raises(ValueError, match=r"\w"):
        check_schema(schema)
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("arguments", ["NaN", '{"a": Infinity}', "[" * 100_000, "1" * 5_000, "[]", '"x"'])
def test_arguments_that_are_no_object_are_refused(arguments: str) -> None:
    result = plan({"type": "object"}, arguments)
    assert isinstance(result, ToolResult)
    assert result.failed
    assert result.ours


def info(name: str, schema: Any, **fields: Any) -> bytes:
    endpoint = {"name": name, "subject": f"rag.v1.tools.{name}", "metadata": {"schema": json.dumps(schema)}}
    return json.dumps({"name": "s", "id": "1", "endpoints": [endpoint], "metadata": {}, **fields}).encode()


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"7",
        b"[]",
        b"\xff",
        b'{"endpoints": 7}',
        b'{"endpoints": [7]}',
        b'{"endpoints": [{"subject": 7}]}',
        b'{"endpoints": [{"subject": "rag.v1.tools.a", "metadata": 7}]}',
        b'{"endpoints": [{"subject": "rag.v1.tools.a", "metadata": {"schema": 7}}], "metadata": 7}',
        b'{"endpoints": [{"subject": "rag.v1.tools.>"}, {"subject": "rag.v1.queries.ask"}]}',
        b"x" * 100_000,
    ],
)
def test_whatever_a_stranger_says_of_itself_the_others_are_found(said: bytes) -> None:
    found = agreed([said, info("a", {"type": "object"}), info("b", {"type": "object"})], {"a"})
    assert [tool.name for tool in found] == ["a"]


def test_instances_that_agree_are_one_tool_whoever_answers_first() -> None:
    one = info("a", {"type": "object", "title": "x"}, description="Second.")
    two = info("a", {"title": "x", "type": "object"}, description="First.")
    assert [tool.description for tool in agreed([one, two], {"a"})] == ["First."]
    assert agreed([one, two], {"a"}) == agreed([two, one], {"a"})
    assert agreed([one, info("a", {"type": "object"})], {"a"}) == []


@pytest.mark.parametrize(
    ("text", "result", "stated"),
    [
        ("That makes 1,250.50 crowns.", ToolResult(text="1250.5", statements=("1250.5",)), True),
        ("That makes 1250.", ToolResult(text="1250.5", statements=("1250.5",)), False),
        ("It is minus 7: -7.", ToolResult(text="-7", statements=("-7",)), True),
        ("It is 21 degrees.", ToolResult(text='{"celsius": 21.0}'), True),
        ("It is warm.", ToolResult(text='{"celsius": 21.0}'), False),
        ("Order shipped yesterday.", ToolResult(text="order shipped"), True),
        ("Nothing is known.", ToolResult(text="order shipped"), False),
        ("There is the Handbook.", ToolResult(text="h | Handbook", statements=("Handbook", "1 document")), True),
        ("It cost 5 in 2024.", ToolResult(text="r-2024 | 2024", statements=("r-2024", "1 document")), False),
    ],
)
def test_an_answer_states_a_result_or_does_not(text: str, result: ToolResult, stated: bool) -> None:
    assert states(text, result) is stated
