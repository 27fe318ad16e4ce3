"""Tables as text: one row a line, cut into sections that each begin with the table's header.

A row without its header says little ("4,210 | 3.1"), and a sheet of 100,000 rows is no single section.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from services.parser.document import Section

CELL_SEPARATOR: Final = " | "
# What fits a chunk of 400 tokens even when it is all numbers (two characters a token), so that every chunk of a long
# table has the header; of words, two such sections fill a chunk.
_SECTION_CHARACTERS: Final = 750
_HEADER_CHARACTERS: Final = 200
_NUMBER: Final = re.compile(r"[^\w]*\d[\d\s.,:/%€$£+-]*")


@dataclass(slots=True)
class Table:
    """An open table; each call returns the sections that have become complete."""

    page: int | None = None
    header: str | None = None
    lines: list[str] = field(default_factory=list)
    size: int = 0

    def row(self, cells: Sequence[str]) -> Iterator[Section]:
        """Take a row; one of a single cell is layout, its lines are paragraphs."""
        if len(cells) == 1:
            yield from self._cut()
            yield from (Section(line, page=self.page) for line in cells[0].split("\n") if line.strip())
        elif any(cells):
            line = CELL_SEPARATOR.join(" ".join(cell.split()) for cell in cells)
            if self.lines and self.size + len(line) > _SECTION_CHARACTERS:
                yield from self._cut()
            self._add(line, is_header=self.header is None and _is_header(cells))

    def end(self) -> Iterator[Section]:
        """Close the table; the next row begins another one."""
        yield from self._cut()
        self.header = None

    def _add(self, line: str, *, is_header: bool) -> None:
        if self.header is None:
            self.header = line if is_header and len(line) <= _HEADER_CHARACTERS else ""
        elif self.header and not self.lines:
            self.lines.append(self.header)
            self.size += len(self.header)
        self.lines.append(line)
        self.size += len(line)

    def _cut(self) -> Iterator[Section]:
        if self.lines:
            yield Section("\n".join(self.lines), "table", page=self.page)
        self.lines.clear()
        self.size = 0


def sections(rows: Iterable[Sequence[str]], page: int | None = None) -> Iterator[Section]:
    """Yield the sections of a whole table."""
    table = Table(page)
    for cells in rows:
        yield from table.row(cells)
    yield from table.end()


def _is_header(cells: Sequence[str]) -> bool:
    """Take a first row of words for the header: names of columns are hardly ever numbers."""
    named = [cell for cell in cells if cell.strip()]
    return len(named) > 1 and not any(_NUMBER.fullmatch(cell) for cell in named)
