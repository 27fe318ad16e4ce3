"""Sheets of any spreadsheet format: rows of cells on their way into tables."""

from collections.abc import Iterable, Iterator
from typing import Final

from services.parser.document import Block, Heading, Section
from services.parser.formats.tables import Table

# Two tables side by side stay apart, and a cell at the end of a row of 16,384 costs no more than that.
_MAX_GAP_CELLS: Final = 8

# The column of a cell, counted from 1, and its text.
Cell = tuple[int, str]


def under(heading: Heading, blocks: Iterable[Block]) -> Iterator[Block]:
    """Put the heading before the blocks; an empty sheet has none."""
    for position, block in enumerate(blocks):
        if position == 0:
            yield heading
        yield block


class Rows:
    """The rows of a sheet on their way into tables; each row is the cells that have text, with their columns."""

    def __init__(self, page: int) -> None:
        self._table = Table(page)
        self._left = 0
        self._last = 0

    def take(self, cells: list[Cell], number: int | None = None) -> Iterator[Section]:
        """Take the next row; rows that are left out between two numbers are empty."""
        number = self._last + 1 if number is None else number
        if not cells or number > self._last + 1:
            yield from self.end()
        if cells:
            self._last = number
            yield from self._row(cells)

    def end(self) -> Iterator[Section]:
        """Close the table."""
        yield from self._table.end()
        self._left = 0

    def _row(self, cells: list[Cell]) -> Iterator[Section]:
        if len(cells) == 1 and not self._left:
            # Above a table, a single cell is a title or a remark.
            yield from self._table.row([cells[0][1]])
            return
        self._left = self._left or cells[0][0]
        yield from self._table.row(_spread(cells, self._left))


def _spread(cells: list[Cell], left: int) -> list[str]:
    """Put every cell in its column, counted from `left`, across gaps of a few cells at most."""
    spread: list[str] = []
    column = left
    for place, text in cells:
        spread += [""] * min(max(place - column, 0), _MAX_GAP_CELLS)
        spread.append(text)
        column = place + 1
    return spread
