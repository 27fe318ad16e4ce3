"""A trace as a waterfall: its spans as a tree, each with a bar over the time of the whole trace.

A bar has two parts: how long the message waited in its queue, and how long somebody worked on it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from shared import semantics

Span = Mapping[str, Any]

MAX_INDENT: Final = 12
_NO_TIME: Final = timedelta()


@dataclass(frozen=True, slots=True)
class Marks:
    """The characters of a bar; `branch` stands before a span that has a parent, `failed` before one that failed."""

    waiting: str = "░"
    working: str = "█"
    branch: str = "└"
    failed: str = "✗"
    cut: str = "…"


ASCII_MARKS: Final = Marks(waiting=".", working="#", branch="`", failed="!", cut="~")


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar in characters: what is left free before it, what was waited, what was worked."""

    before: int
    waiting: int
    working: int


@dataclass(frozen=True, slots=True)
class Row:
    """One span as it is drawn; `orphan` is one whose parent is not among the spans."""

    span: Span
    depth: int
    orphan: bool
    start: datetime
    waited: timedelta
    duration: timedelta

    @property
    def failed(self) -> bool:
        """Tell whether the span says that it failed."""
        return self.span.get("status") == "error"

    @property
    def remarks(self) -> str:
        """Return what the bar cannot show: the kind of error, and that it was not the first try."""
        attributes = self.span.get("attributes") or {}
        tries = attributes.get(semantics.DELIVERIES)
        parts = [
            str(attributes[semantics.ERROR_TYPE]) if semantics.ERROR_TYPE in attributes else "",
            f"delivery {tries}" if isinstance(tries, int) and tries > 1 else "",
        ]
        return ", ".join(part for part in parts if part)


def rows(spans: Sequence[Span]) -> list[Row]:
    """Return spans in the order in which they are drawn: each below its parent, children by their start."""
    by_start = sorted(spans, key=lambda span: datetime.fromisoformat(span["start"]))
    known = {span["span_id"] for span in by_start}
    children: dict[str | None, list[Span]] = {}
    for span in by_start:
        parent = span.get("parent_span_id")
        children.setdefault(parent if parent in known else None, []).append(span)
    drawn = list(_below(None, children))
    # A span that is its own ancestor would be drawn never; no exporter makes one, but anybody may send it.
    seen = {id(row.span) for row in drawn}
    return drawn + [_row(span, 0, orphan=True) for span in by_start if id(span) not in seen]


def extent(drawn: Sequence[Row]) -> tuple[datetime, timedelta]:
    """Return when the first thing began, waiting included, and how long it is until the last one ended."""
    begin = min(row.start - row.waited for row in drawn)
    return begin, max(row.start + row.duration for row in drawn) - begin


def bar(row: Row, begin: datetime, total: timedelta, width: int) -> Bar:
    """Return a span's bar within `width` characters; whatever took time has at least one of them."""

    def column(moment: datetime) -> int:
        return round((moment - begin) / total * width) if total else 0

    start, end = column(row.start), column(row.start + row.duration)
    first = column(row.start - row.waited)
    start = min(start, width - 1)
    waiting = max(start - first, 0)
    if row.waited > _NO_TIME and not waiting and total and row.waited / total * width >= 0.25 and start > 0:
        waiting, first = 1, start - 1
    return Bar(before=start - waiting, waiting=waiting, working=max(min(end, width) - start, 1))


def _below(parent: str | None, children: Mapping[str | None, list[Span]]) -> Iterator[Row]:
    # Not recursive: somebody else's exporter may send a chain of thousands.
    waiting = [(span, 0) for span in reversed(children.get(parent, []))]
    while waiting:
        span, depth = waiting.pop()
        yield _row(span, depth, orphan=depth == 0 and span.get("parent_span_id") is not None)
        waiting += [(child, depth + 1) for child in reversed(children.get(span["span_id"], []))]


def _row(span: Span, depth: int, *, orphan: bool) -> Row:
    start = datetime.fromisoformat(span["start"])
    duration = timedelta(milliseconds=float(span["duration_ms"]))
    return Row(span, depth, orphan, start, _waited(span, start), duration)


def _waited(span: Span, start: datetime) -> timedelta:
    queued = (span.get("attributes") or {}).get(semantics.QUEUED_AT)
    try:
        return max(start - datetime.fromisoformat(queued), _NO_TIME) if isinstance(queued, str) else _NO_TIME
    except (ValueError, TypeError):
        return _NO_TIME
