"""JSON and JSONL as lines of `path: value`.

The keys of objects around a value are headings, down to the first array; each element of that array is a record of its
own, with paths that begin in it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Final

from services.parser.document import Block, Extracted, Heading, Section, Source
from services.parser.formats.json_events import JsonEvent, events
from services.parser.formats.text import paragraphs

_HEADING_LEVELS: Final = 4
_MAX_SECTION_LINES: Final = 60
_MAX_SECTION_CHARACTERS: Final = 2_000
_EMPTY: Final = frozenset({"", "null"})


def extract(source: Source) -> Extracted:
    """Read JSON; its title is the `title` that the outermost object gives itself near its start.

    What stands behind a break in the JSON is read as plain text.
    """
    text = source.text()
    reader = _Reader()
    found = reader.blocks(text)
    begun = list(islice(found, 1))
    # Where the first value is read to its end, another may follow: JSONL, whose lines have titles of their own.
    begun += islice(found, 0 if reader.open else 1)
    alone = reader.open or len(begun) < 2
    return Extracted(reader.title if alone else None, chain(begun, found))


@dataclass(slots=True)
class _Container:
    """An open object with its last key, or an open array with the number of its last element."""

    array: bool
    key: str = ""
    index: int = -1


@dataclass(slots=True)
class _Reader:
    """Turns events into lines, and lines into sections under their headings."""

    title: str | None = None
    open: list[_Container] = field(default_factory=list)
    shown: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    lines: list[str] = field(default_factory=list)
    label: str | None = None
    length: int = 0

    def blocks(self, text: str) -> Iterator[Block]:
        for event in events(text):
            if event.kind == "broken":
                yield from self._end_section()
                yield from paragraphs(text[int(event.text) :])
            else:
                yield from self._take(event)
        yield from self._end_section()

    def _take(self, event: JsonEvent) -> Iterator[Block]:
        container = self.open[-1] if self.open else None
        if event.kind == "key":
            if container:
                container.key = event.text
        elif event.kind == "end":
            self.open.pop()
            if self._ends_record():
                yield from self._end_section()
        else:
            if container and container.array:
                container.index += 1
            if event.kind in ("object", "array"):
                self.open.append(_Container(event.kind == "array"))
            elif event.text.strip() not in _EMPTY:
                yield from self._add(event.text)
            if not self.open:
                yield from self._end_section()

    def _ends_record(self) -> bool:
        return not self.open or (self.open[-1].array and not any(one.array for one in self.open[:-1]))

    def _add(self, value: str) -> Iterator[Block]:
        path, label = self._place()
        if path != self.path or len(self.lines) >= _MAX_SECTION_LINES or self.length > _MAX_SECTION_CHARACTERS:
            yield from self._end_section()
        if label == "title" and self.title is None and len(self.open) == 1 and not self.open[0].array:
            self.title = value
        if label == self.label and label and self.lines:
            # The values of an array stand side by side.
            self.lines[-1] += f", {value}"
        else:
            self.lines.append(f"{label}: {value}" if label else value)
        self.path, self.label = path, label
        self.length += len(value)

    def _place(self) -> tuple[tuple[str, ...], str]:
        """Return the headings above the value that comes, and its path below them."""
        depth = len(self.open)
        first_array = next((number for number, one in enumerate(self.open) if one.array), depth)
        levels = min(first_array, _HEADING_LEVELS) if first_array < depth else min(depth - 1, _HEADING_LEVELS)
        levels = max(levels, 0)
        path = tuple(one.key for one in self.open[:levels])
        rest = self.open[levels + 1 :] if levels == first_array else self.open[levels:]
        return path, _label(rest)

    def _end_section(self) -> Iterator[Block]:
        if not self.lines:
            return
        yield from self._headings()
        yield Section("\n".join(self.lines))
        self.lines.clear()
        self.label, self.length = None, 0

    def _headings(self) -> Iterator[Block]:
        """Yield the headings that lead from the last section to this one."""
        path = self.path
        if self.shown and not path:
            # There is no heading that means "back outside": the value's own key is one.
            path = (self.lines[0].partition(":")[0],)
        common = sum(1 for _ in _common(self.shown, path))
        if path and common == len(path) < len(self.shown):
            common -= 1
        yield from (Heading(level, key) for level, key in enumerate(path[common:], common + 1))
        self.shown = path


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> Iterator[str]:
    for left, right in zip(one, other, strict=False):
        if left != right:
            return
        yield left


def _label(containers: list[_Container]) -> str:
    """Return the path of a value: keys with dots between them, the number of an object in an array in brackets."""
    label = ""
    for number, container in enumerate(containers, 1):
        if not container.array:
            label += f".{container.key}" if label else container.key
        elif number < len(containers) and not containers[number].array:
            label += f"[{container.index}]"
    return label
