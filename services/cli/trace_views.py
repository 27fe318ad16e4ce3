"""Traces in a terminal."""

import asyncio
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple
from datetime import datetime, timedelta
from typing import Any, Final

import httpx
from rich.table import Table
from rich.text import Text

from services.cli.client import Gateway, Problem
from services.cli.errors import UsageProblem
from services.cli.terminal import one_line, out, show
from services.cli.waterfall import ASCII_MARKS, MAX_INDENT, Marks, Row, bar, extent, rows

PATH: Final = "/v1/traces"
PAGE_SIZE: Final = 200
# Spans arrive about a second after their work.
WAIT_SECONDS: Final = 3.5
LOOK_SECONDS: Final = 0.4
COLOURS: Final = ("cyan", "green", "yellow", "magenta", "blue", "bright_cyan", "bright_green", "bright_magenta")
ID_DIGITS: Final = 32
LEAST_WIDTH: Final = 80
_NAME_WIDTH: Final = 36
_TIME_WIDTH: Final = 9
_PREFIX: Final = "rag.v1."


def read_trace(url: str, trace_id: str) -> dict[str, Any]:
    """Return a trace; one that is not there yet, or not complete, is given a moment."""
    if len(trace_id) != ID_DIGITS or not set(trace_id.lower()) <= set("0123456789abcdef"):
        raise UsageProblem(f"a trace id has {ID_DIGITS} hexadecimal digits, found {one_line(trace_id)!r}")

    async def read() -> dict[str, Any]:
        until = time.monotonic() + WAIT_SECONDS
        async with Gateway(url) as gateway:
            while True:
                late = time.monotonic() > until
                try:
                    found: dict[str, Any] = await gateway.get(f"{PATH}/{trace_id.lower()}")
                    if late or found["complete"] or found["truncated"] or found["dropped"]:
                        return found
                except Problem as error:
                    if late or error.status != httpx.codes.NOT_FOUND:
                        raise
                await asyncio.sleep(LOOK_SECONDS)

    return asyncio.run(read())


def list_traces(url: str, wanted: Mapping[str, Any], limit: int) -> dict[str, Any]:
    """Return the newest `limit` traces as one page, however many pages the gateway makes of them."""

    async def collect() -> dict[str, Any]:
        items: list[dict[str, Any]] = []
        cursor: str | None = None
        async with Gateway(url) as gateway:
            while True:
                at_most = min(PAGE_SIZE, limit - len(items))
                page = await gateway.get(PATH, {**wanted, "cursor": cursor, "limit": at_most})
                items += page["items"]
                cursor = page.get("next_cursor")
                if cursor is None or len(items) >= limit:
                    return {"items": items, "next_cursor": cursor}

    return asyncio.run(collect())


def print_traces(page: dict[str, Any]) -> None:
    """Print a page of traces as a table."""
    if not page["items"]:
        show("No traces.")
        return
    table = Table(box=None, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    # An id that is cut is of no use: where it is narrow, what it was is.
    for name, width in (("started", 8), ("trace", ID_DIGITS), ("took", 7), ("spans", 5)):
        table.add_column(name, no_wrap=True, min_width=width, justify="right" if name in ("took", "spans") else "left")
    table.add_column("what", no_wrap=True, overflow="ellipsis")
    for item in page["items"]:
        failed = bool(item["error"])
        what = Text(("✗ " if failed else "") + _short(item["name"]), style="red" if failed else "")
        started = datetime.fromisoformat(item["start"]).astimezone().strftime("%H:%M:%S")
        took = _duration(timedelta(milliseconds=item["duration_ms"]))
        table.add_row(started, one_line(item["trace_id"]), took, str(item["spans"]), what)
    show(table)
    if page["next_cursor"] is not None:
        show("There are more; --limit shows them.")


def print_trace(trace: dict[str, Any]) -> None:
    """Print a trace as a waterfall."""
    console = out()
    width = max(console.width, LEAST_WIDTH) if console.is_terminal else LEAST_WIDTH
    for line in lines(trace, width, _marks(sys.stdout.encoding)):
        show(line, soft_wrap=True)


def lines(trace: dict[str, Any], width: int, marks: Marks) -> Iterator[Text]:
    """Yield the lines of a waterfall, none longer than `width` but where an id must stand on it."""
    drawn = rows(trace["spans"])
    begin, total = extent(drawn)
    services = _by_appearance(drawn)
    styles = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(services)}
    yield Text(f"trace {one_line(trace['trace_id'])}  {_duration(total)}, {trace['span_count']} spans", style="bold")
    columns = _Columns(width, max(len(name) for name in services), marks)
    for row in drawn:
        bars = bar(row, begin, total, columns.bar)
        line = Text(columns.name_of(row), style="red" if row.failed else "")
        line.append(
            f"{one_line(row.span['service'])[: columns.service]:<{columns.service}} ", style=_style(row, styles)
        )
        line.append(f"{_duration(row.duration):>{_TIME_WIDTH}} ")
        line.append(" " * bars.before + marks.waiting * bars.waiting, style="bright_black")
        line.append(marks.working * bars.working, style=_style(row, styles))
        yield line
    yield from _footer(trace, drawn, marks)


class _Columns:
    """How wide what is: the bars get what the names leave."""

    def __init__(self, width: int, longest_service: int, marks: Marks) -> None:
        self.marks = marks
        self.name = _NAME_WIDTH + max(width - LEAST_WIDTH, 0) // 3
        self.service = min(longest_service, 14)
        self.bar = width - self.name - self.service - _TIME_WIDTH - 3

    def name_of(self, row: Row) -> str:
        depth = min(row.depth, MAX_INDENT)
        branch = " " * (depth - 1) + self.marks.branch if depth else ""
        text = branch + (f"{self.marks.failed} " if row.failed else "") + _short(row.span["name"])
        if row.remarks:
            text += f" ({one_line(row.remarks)})"
        cut = text if len(text) <= self.name else text[: self.name - 1] + self.marks.cut
        return f"{cut:<{self.name}} "


def _footer(trace: dict[str, Any], drawn: Sequence[Row], marks: Marks) -> Iterator[Text]:
    waits = sorted((row for row in drawn if row.waited), key=lambda row: row.waited, reverse=True)
    if waits:
        longest = waits[0]
        yield Text(f"{marks.waiting} waiting in a queue, {marks.working} working", style="bright_black")
        who = f"{_short(longest.span['service'], 20)} {_short(longest.span['name'], 40)}"
        yield Text(f"waited longest: {who}, {_duration(longest.waited)}")
    for row in drawn:
        if row.failed:
            why = f": {one_line(row.remarks)}" if row.remarks else ""
            yield Text(
                f"{marks.failed} {_short(row.span['service'], 20)} {_short(row.span['name'], 60)}{why}", style="red"
            )
    for name, trace_id in _linked(drawn, trace["trace_id"]):
        yield Text(f"{_short(name, 30)} goes back to: rag trace {trace_id}")
    if any(row.orphan for row in drawn[1:]):
        yield Text("Spans whose parent is missing stand at the left.")
    if trace["truncated"] or trace["dropped"]:
        yield Text(f"Only {len(trace['spans'])} of {trace['span_count'] + trace['dropped']} spans are shown.")
    elif not trace["complete"]:
        yield Text("More spans may come; look again.")


def _linked(drawn: Sequence[Row], own: str) -> list[tuple[str, str]]:
    """Return the other traces that spans point at, with the first span that does, without repeats."""
    found: dict[str, str] = {}
    for row in drawn:
        for link in row.span.get("links") or []:
            if link["trace_id"] != own:
                found.setdefault(one_line(link["trace_id"]), row.span["name"])
    return [(name, trace_id) for trace_id, name in found.items()]


def _by_appearance(drawn: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(one_line(row.span["service"]) for row in drawn))


def _style(row: Row, styles: Mapping[str, str]) -> str:
    return "red" if row.failed else styles[one_line(row.span["service"])]


def _short(name: object, max_characters: int = 200) -> str:
    return one_line(name, max_characters).replace(_PREFIX, "")


def _duration(duration: timedelta) -> str:
    seconds = duration.total_seconds()
    if seconds < 1:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 120:
        return f"{seconds:.2f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7_200 else f"{seconds / 3_600:.1f} h"


def _marks(encoding: str | None) -> Marks:
    """A terminal that knows no block characters gets plain ones."""
    try:
        "".join(astuple(Marks())).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII_MARKS
    return Marks()
