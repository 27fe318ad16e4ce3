"""reStructuredText: the source's own lines, cut into blocks.

A line scanner, not docutils: that takes 12 s for 1 MB, fails on nested lists, and would include files. Rules work as in
the Markdown scanner.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from services.parser.document import Block, Extracted, Heading, Section, SectionKind, Source

_ADORNMENT: Final = re.compile(r"([!-/:-@\[-`{-~])\1{2,}\s*$")
_SHORT_ADORNMENT: Final = re.compile(r"([=\-~^\"'`#*+.:_])\1*\s*$")
_DIRECTIVE: Final = re.compile(r"\.\. +(?:\|[^|]+\| +)?([\w-]+(?::[\w-]+)*)::(?:\s+(.*))?$")
_EXPLICIT: Final = re.compile(r"(?:\.\.(?:\s|$)|__ )")
_NOTE_OR_CITATION: Final = re.compile(r"\.\. \[([^\]]+)\]\s*(.*)$")
_OPTION: Final = re.compile(r"\s*:[\w-]+:(?:\s|$)")
_ITEM: Final = re.compile(r"(?:[-*+•‣⁃]|\(?(?:\d+|#|[A-Za-z]|[ivxlcdm]+)[.)])(?:\s|$)")  # noqa: RUF001 - bullets of the standard
_FIELD: Final = re.compile(r":(?![: ])(?:[^:\\]|\\.|:(?!\s))+:(?:\s|$)")
_GRID_TABLE: Final = re.compile(r"\+[-=+]{3,}\+\s*$")
_SIMPLE_TABLE: Final = re.compile(r"=+(?: +=+)+\s*$")
_RULE_OF_GRID: Final = re.compile(r"\s*[|+][-=+|\s]*$")
_RULE_OF_TABLE: Final = re.compile(r"[-=]+(?: +[-=]+)*\s*$")
_CODE_DIRECTIVES: Final = frozenset(
    {"code", "code-block", "parsed-literal", "sourcecode", "math", "prompt", "testcode"}
)
# What these hold is no text of the document.
_SILENT_DIRECTIVES: Final = frozenset(
    {
        *("contents", "toctree", "include", "raw", "image", "meta", "highlight", "index", "default-role", "role"),
        *(
            "autoclass",
            "autofunction",
            "automodule",
            "automethod",
            "currentmodule",
            "module",
            "unicode",
            "target-notes",
        ),
        *("sectnum", "class", "todolist", "literalinclude", "replace"),
    }
)
_ROLE: Final = re.compile(r":[a-zA-Z][\w:+.-]{0,60}:`(?:~|!)?([^`]+)`")
_ROLE_TARGET: Final = re.compile(r"`([^`<]*+)<[^`>]+>`_{0,2}")

_BLOCKS_BEFORE_TITLE: Final = 20
_MAX_DEPTH: Final = 20
_MAX_TABLE_LINES: Final = 5_000

Taken = tuple[int, list[Block]]


def extract(source: Source) -> Extracted:
    """Read reStructuredText; its title is the first heading, when that stands near its start."""
    lines = source.text().split("\n")
    beginning = islice(_Scanner(lines).blocks(), _BLOCKS_BEFORE_TITLE)
    title = next((block.text for block in beginning if isinstance(block, Heading)), None)
    return Extracted(title, _Scanner(lines).blocks())


class _Scanner:
    """Knows which adornments have been seen: their order is the outline."""

    def __init__(self, lines: list[str], depth: int = 0) -> None:
        self._lines = lines
        self._depth = depth
        self._styles: list[str] = []

    def blocks(self) -> Iterator[Block]:
        position = 0
        while position < len(self._lines):
            if not self._lines[position].strip():
                position += 1
                continue
            rules = (self._overlined, self._underlined, self._explicit, self._table, self._transition, self._text)
            position, found = next(taken for rule in rules if (taken := rule(position)))
            yield from found

    def _line(self, position: int) -> str:
        return self._lines[position] if position < len(self._lines) else ""

    def _overlined(self, start: int) -> Taken | None:
        over, title, under = (self._line(start + offset).rstrip() for offset in range(3))
        if not _ADORNMENT.match(over) or over != under or not title.strip():
            return None
        return start + 3, [self._heading(over[0] * 2, title)]

    def _underlined(self, start: int) -> Taken | None:
        title, under = self._line(start).rstrip(), self._line(start + 1).rstrip()
        if title[:1].isspace() or _ADORNMENT.match(title) or not _SHORT_ADORNMENT.match(under):
            return None
        # Shorter lines are text that happens to look so; docutils wants as many characters as the title has.
        if len(under) < min(len(title), 4):
            return None
        return start + 2, [self._heading(under[0], title)]

    def _heading(self, style: str, title: str) -> Heading:
        if style not in self._styles:
            self._styles.append(style)
        return Heading(self._styles.index(style) + 1, _plain(title.strip()))

    def _transition(self, start: int) -> Taken | None:
        return (start + 1, []) if _ADORNMENT.match(self._line(start)) else None

    def _explicit(self, start: int) -> Taken | None:
        line = self._line(start)
        if not _EXPLICIT.match(line):
            return None
        end = self._indented_end(start + 1)
        note = _NOTE_OR_CITATION.match(line)
        if note:
            return end, [
                Section(_plain("\n".join([f"[{note.group(1)}] {note.group(2)}", *self._dedented(start + 1, end)])))
            ]
        directive = _DIRECTIVE.match(line)
        return end, self._directive(directive.group(1), directive.group(2) or "", start + 1, end) if directive else []

    def _directive(self, name: str, argument: str, start: int, end: int) -> list[Block]:
        while start < end and _OPTION.match(self._line(start)):
            start += 1
        body = self._dedented(start, end)
        if name in _SILENT_DIRECTIVES:
            return []
        if name in _CODE_DIRECTIVES:
            return [Section("\n".join(body), "code")]
        heading = [Section(_plain(argument))] if argument and name not in ("figure",) else []
        return [*heading, *self._inner(body)]

    def _table(self, start: int) -> Taken | None:
        line = self._line(start)
        if _GRID_TABLE.match(line):
            end = next((n for n in range(start, len(self._lines)) if not self._line(n).startswith(("+", "|"))), None)
            end = len(self._lines) if end is None else end
            return end, [Section("\n".join(_grid_rows(self._lines[start:end])), "table")]
        if _SIMPLE_TABLE.match(line):
            end = self._simple_table_end(start)
            rows = (row.rstrip() for row in self._lines[start:end] if not _RULE_OF_TABLE.match(row))
            return end, [Section("\n".join(filter(None, rows)), "table")]
        return None

    def _simple_table_end(self, start: int) -> int:
        """A simple table ends with a rule that a blank line follows."""
        for position in range(start + 1, min(len(self._lines), start + _MAX_TABLE_LINES)):
            if _SIMPLE_TABLE.match(self._line(position)) and not self._line(position + 1).strip():
                return position + 1
        return self._block_end(start)

    def _text(self, start: int) -> Taken:
        line = self._line(start)
        if _ITEM.match(line) or _FIELD.match(line):
            end = self._list_end(start)
            return end, [_section(self._lines[start:end], "list")]
        if line[:1].isspace():
            end = self._indented_end(start)
            return end, list(self._inner(self._dedented(start, end)))
        return self._paragraph(start)

    def _paragraph(self, start: int) -> Taken:
        end = self._block_end(start)
        lines = self._lines[start:end]
        if not lines[-1].rstrip().endswith("::"):
            return end, [_section(lines, "text")]
        code_end = self._indented_end(end)
        code = self._dedented(end, code_end)
        lines[-1] = lines[-1].rstrip()[:-1] if lines[-1].strip() != "::" else ""
        return code_end, [_section(lines, "text"), Section("\n".join(code), "code")]

    def _inner(self, lines: list[str]) -> Iterable[Block]:
        return _Scanner(lines, self._depth + 1).blocks() if self._depth < _MAX_DEPTH else [_section(lines, "text")]

    def _block_end(self, start: int) -> int:
        end = start + 1
        while end < len(self._lines) and self._lines[end].strip():
            end += 1
        return end

    def _indented_end(self, start: int) -> int:
        end = position = start
        while position < len(self._lines) and (not self._lines[position].strip() or self._lines[position][0].isspace()):
            position += 1
            end = position if self._lines[position - 1].strip() else end
        return end

    def _list_end(self, start: int) -> int:
        end = position = start + 1
        while position < len(self._lines):
            line = self._lines[position]
            belongs = not line.strip() or line[0].isspace() or _ITEM.match(line) or _FIELD.match(line)
            if not belongs and (position > end or not self._lines[position - 1].strip()):
                break
            position += 1
            end = position if line.strip() else end
        return end

    def _dedented(self, start: int, end: int) -> list[str]:
        lines = self._lines[start:end]
        margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
        return [line[margin:] for line in lines]


def _grid_rows(lines: list[str]) -> Iterator[str]:
    """Yield the rows of a grid table as lines; a row may take several of the source."""
    cells: list[str] = []
    for line in lines:
        if _RULE_OF_GRID.match(line):
            if any(cells):
                yield _plain(" | ".join(cells))
            cells = []
            continue
        parts = [part.strip() for part in line.strip().strip("|").split("|")]
        same = len(parts) == len(cells)
        cells = (
            [f"{cell} {part}".strip() for cell, part in zip(cells, parts, strict=True)] if same else [*cells, *parts]
        )
    if any(cells):
        yield _plain(" | ".join(cells))


def _section(lines: list[str], kind: SectionKind) -> Section:
    return Section(_plain("\n".join(lines)), kind)


def _plain(text: str) -> str:
    """Return the text without roles and link targets, whose names are for the machine."""
    return _ROLE_TARGET.sub(lambda match: match.group(1).rstrip(), _ROLE.sub(r"`\1`", text))
