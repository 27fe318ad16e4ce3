"""What people see of results."""

import pytest
import typer
from rich.text import Text

from services.cli.hits import snippet
from services.cli.options import parse_filter, parse_metadata
from services.cli.terminal import one_line, printable
from services.cli.trace_views import print_traces


def marked(text: Text) -> list[str]:
    return [text.plain[span.start : span.end] for span in text.spans]


def test_the_words_of_the_query_are_marked_with_their_endings() -> None:
    shown = snippet("Brokers keep what a broker stores.\nNothing else is broken.", "which broker stores")
    assert marked(shown) == ["Brokers", "broker", "stores"]


def test_a_snippet_starts_near_the_first_word_and_says_that_something_is_before_it() -> None:
    shown = snippet("filler " * 100 + "the needle is here", "needle")
    assert shown.plain.startswith("…")
    assert "needle is here" in shown.plain
    assert len(shown.plain) < 260


def test_a_query_of_special_characters_marks_nothing_and_breaks_nothing() -> None:
    assert marked(snippet("a (b) [c] *", "(b) [c *")) == []


def test_a_document_cannot_control_the_terminal() -> None:
    assert printable("a\x1b[2Jb\x07\x9bc\r\nd\te") == "a�[2Jb��c\nd\te"


def test_long_text_is_cut_to_one_line() -> None:
    assert one_line("a\n  b\tc", 10) == "a b c"
    assert one_line("x" * 20, 10) == "x" * 9 + "…"


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("year=2026", 2026),
        ("draft=true", True),
        ("score=0.5", 0.5),
        ('tags=["a","b"]', ["a", "b"]),
        ("team=infra", "infra"),
        ("note=a=b", "a=b"),
        ("empty=", ""),
        ("nothing=null", "null"),
        ('object={"a":1}', '{"a":1}'),
    ],
)
def test_metadata_values_are_what_they_look_like(pair: str, value: object) -> None:
    assert parse_metadata([pair]) == {pair.partition("=")[0]: value}


@pytest.mark.parametrize("pair", ["year", "=2026"])
def test_metadata_without_a_name_is_refused(pair: str) -> None:
    with pytest.raises(typer.BadParameter, match="name=value"):
        parse_metadata([pair])


@pytest.mark.parametrize(("text", "reason"), [("{", "not JSON"), ("[1]", "must be a JSON object")])
def test_a_filter_must_be_a_json_object(text: str, reason: str) -> None:
    with pytest.raises(typer.BadParameter, match=reason):
        parse_filter(text)


def test_the_id_of_a_trace_is_whole_in_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    item = {
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "start": "2026-11-27T06:03:43Z",
        "duration_ms": 1234.5,
        "spans": 104,
        "error": True,
        "name": "GET /v1/documents/{document_id:path}/chunks",
    }
    print_traces({"items": [item], "next_cursor": None})
    [head, row] = capsys.readouterr().out.splitlines()
    assert len(row) <= 80
    assert "0af7651916cd43dd8448eb211c80319c" in row
    assert row.split(" ✗ ")[1].startswith("GET /v1/documents/")
    assert head.split() == ["started", "trace", "took", "spans", "what"]
