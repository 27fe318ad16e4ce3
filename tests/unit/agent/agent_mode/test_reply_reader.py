"""Replies of the agreed form, read while they are written."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.agent.agent_mode.loop import Call
from services.agent.agent_mode.reply_reader import Reply, ReplyReader


def read(raw: str, size: int = 1) -> tuple[str, Reply]:
    reader = ReplyReader()
    shown = "".join(reader.feed(raw[place : place + size]) for place in range(0, len(raw), size))
    return shown, reader.end()


def written(calls: list[object], answer: str, *, ascii_only: bool = True) -> str:
    return json.dumps({"tool_calls": calls, "answer": answer}, ensure_ascii=ascii_only)


@given(st.text(), st.integers(1, 9), st.booleans())
def test_an_answer_comes_through_whole_however_it_is_cut(answer: str, size: int, ascii_only: bool) -> None:
    answer = answer.encode(errors="replace").decode()
    shown, reply = read(written([], answer, ascii_only=ascii_only), size)
    assert shown == reply.text == answer
    assert reply.calls == ()


def test_an_answer_is_shown_as_it_comes() -> None:
    reader = ReplyReader()
    assert reader.feed('{"tool_calls": [], "answer": "The har') == "The har"
    assert reader.feed("bour [1") == "bour [1"


def test_what_stands_beside_calls_is_not_shown() -> None:
    call = {"tool": "search", "arguments": {"query": 'say "answer": "x"', "answer": "y"}}
    shown, reply = read(written([call], "I look it up."))
    assert shown == ""
    assert reply.calls == (Call(name="search", arguments=json.dumps(call["arguments"])),)


@pytest.mark.parametrize("raw", ["It opened in 1887 [1].", "  It opened in 1887 [1].\n"])
def test_a_text_that_is_no_json_is_the_answer(raw: str) -> None:
    shown, reply = read(raw)
    assert (shown.strip(), reply) == (raw.strip(), Reply(raw.strip()))


def test_json_in_a_fence_is_read() -> None:
    assert read("```json\n" + written([], "Yes.") + "\n```")[1] == Reply("Yes.")


def test_an_answer_that_breaks_off_is_kept() -> None:
    assert read('{"tool_calls": [], "answer": "The harbour of')[1] == Reply("The harbour of")


@pytest.mark.parametrize(
    "raw", ['{"tool_calls": [{"tool": "se', "{}", '{"tool_calls": [7]}', '{"answer": 7}', "{" * 5_000, "```"]
)
def test_what_cannot_be_read_is_a_call_of_nothing(raw: str) -> None:
    shown, reply = read(raw, 50)
    assert shown == ""
    assert [call.name for call in reply.calls] == [""]


def test_nothing_is_nothing() -> None:
    assert read("  \n") == ("", Reply(""))
