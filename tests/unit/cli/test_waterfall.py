"""A trace in a terminal."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.cli.trace_views import lines
from services.cli.waterfall import ASCII_MARKS, Marks, bar, extent, rows

AT = datetime(2026, 11, 26, 12, 0, 0, tzinfo=UTC)


def span(number: int, parent: int | None, name: str, service: str, at_ms: float, took_ms: float, **more: Any) -> Any:
    queued_ms = more.pop("queued_ms", None)
    attributes = more.pop("attributes", {})
    if queued_ms is not None:
        attributes["rag.message.queued_at"] = (AT + timedelta(milliseconds=queued_ms)).isoformat()
    return {
        "span_id": f"{number:016x}",
        "parent_span_id": None if parent is None else f"{parent:016x}",
        "name": name,
        "service": service,
        "start": (AT + timedelta(milliseconds=at_ms)).isoformat().replace("+00:00", "Z"),
        "duration_ms": took_ms,
        "status": "unset",
        "attributes": attributes,
        "links": [],
        **more,
    }


def trace(*spans: Any, **more: Any) -> dict[str, Any]:
    fields = {"complete": True, "truncated": False, "dropped": 0, "span_count": len(spans)}
    return {"trace_id": "a" * 32, "spans": list(spans), **fields, **more}


def drawn(found: dict[str, Any], width: int = 80, marks: Marks = ASCII_MARKS) -> list[str]:
    return [line.plain.rstrip() for line in lines(found, width, marks)]


PIPELINE = (
    span(1, None, "POST /v1/documents", "gateway", 0, 100),
    span(2, 1, "send rag.v1.ingest.{tenant}", "gateway", 10, 5),
    span(4, 3, "send rag.v1.chunks.ready", "parser", 460, 10),
    span(3, 2, "process rag.v1.ingest.{tenant}", "parser", 400, 100, queued_ms=12),
    span(5, 2, "process rag.v1.ingest.{tenant}", "persistence", 950, 50, queued_ms=12),
)


def test_a_waterfall_shows_the_tree_the_times_and_what_waited_in_queues() -> None:
    assert drawn(trace(*PIPELINE)) == [
        "trace aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa  1.00 s, 5 spans",
        "POST /v1/documents                   gateway      100.0 ms ##",
        "`send ingest.{tenant}                gateway        5.0 ms #",
        " `process ingest.{tenant}            parser       100.0 ms ........##",
        "  `send chunks.ready                 parser        10.0 ms           #",
        " `process ingest.{tenant}            persistence   50.0 ms ....................#",
        ". waiting in a queue, # working",
        "waited longest: persistence process ingest.{tenant}, 938.0 ms",
    ]


@pytest.mark.parametrize("width", [80, 100, 160])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    deep = [span(number, number - 1 or None, "n" * 90, "s" * 40, number, 1) for number in range(1, 40)]
    for line in drawn(trace(*PIPELINE, *deep), width):
        assert len(line) <= width, line


def test_services_have_colours_of_their_own_and_failures_are_red() -> None:
    failed = span(9, 3, "send x", "parser", 500, 1, status="error", attributes={"error.type": "Unavailable"})
    found = list(lines(trace(*PIPELINE, failed), 80, Marks()))
    gateway, parser = (str(found[place].spans[0].style) for place in (1, 3))
    assert gateway != parser
    assert str(found[2].spans[0].style) == gateway
    [row] = [line for line in found if line.plain.startswith("  └✗ send x (Unavailable)")]
    assert row.style == "red"
    assert "✗ parser send x: Unavailable" in [line.plain for line in found]


def test_a_replay_names_the_trace_that_it_goes_back_to() -> None:
    old = {"trace_id": "b" * 32, "span_id": "1" * 16}
    found = drawn(trace(span(1, None, "replay dead letter", "persistence", 0, 5, links=[old, old])))
    assert [line for line in found if "b" * 32 in line] == [f"replay dead letter goes back to: rag trace {'b' * 32}"]


def test_a_later_delivery_says_which_it_is() -> None:
    again = span(1, None, "process x", "parser", 0, 1, attributes={"rag.message.deliveries": 3})
    assert "process x (delivery 3)" in drawn(trace(again))[1]


def test_what_is_left_out_or_still_to_come_is_said() -> None:
    one = span(1, None, "x", "s", 0, 1)
    assert drawn(trace(one, complete=False))[-1] == "More spans may come; look again."
    cut = trace(one, truncated=True, complete=False, span_count=90, dropped=10)
    assert drawn(cut)[-1] == "Only 1 of 100 spans are shown."
    assert "parent is missing" in drawn(trace(one, span(3, 9, "y", "s", 1, 1), complete=False))[-2]


def test_spans_in_a_circle_and_in_a_chain_of_thousands_are_drawn() -> None:
    circle = [span(1, 2, "a", "s", 0, 1), span(2, 1, "b", "s", 1, 1)]
    assert [row.span["name"] for row in rows(circle)] == ["a", "b"]
    chain = [span(number, number - 1 or None, "n", "s", number, 1) for number in range(1, 4_000)]
    assert rows(chain)[-1].depth == 3_998


def test_control_characters_of_a_span_do_not_reach_the_terminal() -> None:
    hostile = span(1, None, "a\x1b]0;title\x07b", "s\x1b[31m", 0, 1)
    assert not any("\x1b" in line or "\x07" in line for line in drawn(trace(hostile)))


def test_a_bar_shows_whatever_took_time() -> None:
    found = rows([span(1, None, "x", "s", 0, 100_000), span(2, 1, "y", "s", 99_999.9, 0.1)])
    begin, total = extent(found)
    for row in found:
        drawn_bar = bar(row, begin, total, 20)
        assert drawn_bar.working >= 1
        assert drawn_bar.before + drawn_bar.waiting + drawn_bar.working <= 20
    instant = rows([span(1, None, "x", "s", 0, 0)])
    assert bar(instant[0], *extent(instant), 20).working == 1
