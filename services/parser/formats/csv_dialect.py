"""Rows of CSV, whoever wrote it: the delimiter is found, and a quote that is never closed costs one row."""

import csv
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

DELIMITERS: Final = (",", ";", "\t", "|")
_SAMPLE_ROWS: Final = 50
# A row that goes on over more lines, or a cell that is longer, has a quote that somebody forgot to close.
_MAX_ROW_LINES: Final = 500
_MAX_CELL_CHARACTERS: Final = 1 << 20


class _TooManyLines(Exception):
    """A row does not end."""


class _Lines(Iterator[str]):
    """Hands out lines and remembers those of the row that is being read."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.of_row: list[str] = []

    def __next__(self) -> str:
        if len(self.of_row) == _MAX_ROW_LINES:
            raise _TooManyLines
        line = next(self._lines)
        self.of_row.append(line)
        return line


def rows(lines: Iterable[str], delimiter: str) -> Iterator[list[str]]:
    """Yield the rows that are not empty, cells stripped; where quotes make no sense they are characters."""
    csv.field_size_limit(_MAX_CELL_CHARACTERS)
    source = _Lines(iter(lines))
    reader = csv.reader(source, delimiter=delimiter, skipinitialspace=delimiter != "\t")
    while True:
        source.of_row.clear()
        try:
            row = next(reader)
        except StopIteration:
            return
        except (csv.Error, _TooManyLines):
            yield from (_cells(line.split(delimiter)) for line in source.of_row if line.strip())
            reader = csv.reader(source, delimiter=delimiter, skipinitialspace=delimiter != "\t")
        else:
            if any(cell.strip() for cell in row):
                yield _cells(row)


def find_delimiter(sample: list[str], expected: str) -> str:
    """Return the delimiter that cuts the lines into the most rows alike, and `expected` where none does."""
    if not sample:
        return expected
    named = sample[0].strip().lower()
    if named.startswith("sep=") and len(named) == 5:
        return named[4]
    scores = {delimiter: _regularity(sample, delimiter) for delimiter in (expected, *DELIMITERS)}
    best = max(scores, key=lambda delimiter: scores[delimiter])
    return best if scores[best] > (0.0, 0) else expected


def _regularity(sample: list[str], delimiter: str) -> tuple[float, int]:
    """Return the share of rows as wide as most are, and that width; nothing for rows of one cell."""
    widths = [len(row) for row in islice(rows(sample, delimiter), _SAMPLE_ROWS)]
    usual = max(set(widths), key=lambda width: (widths.count(width), width), default=1)
    return (round(widths.count(usual) / len(widths), 1), usual) if usual > 1 else (0.0, 0)


def _cells(row: list[str]) -> list[str]:
    return [" ".join(cell.split()) for cell in row]
