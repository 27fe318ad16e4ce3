"""CSV and TSV: every row says its column names, `Team: Blues | Location: STL`.

A header on top of each group of rows would be shorter, but a chunk may begin anywhere in a group, an answer quotes
single lines, and rows of wide tables are longer than chunks: only names at the values survive all of it.
"""

import re
from collections.abc import Iterator
from io import BytesIO, TextIOWrapper
from itertools import chain, islice
from typing import Final

from services.parser.document import Block, Extracted, Section, Source, clean, one_line
from services.parser.formats.csv_dialect import find_delimiter, rows

_SAMPLE_LINES: Final = 100
_SECTION_CHARACTERS: Final = 1_500
# Rows above the header: a title, a date, a source.
_MAX_CAPTION_ROWS: Final = 10
_MAX_NAME_CHARACTERS: Final = 80
_SEPARATOR: Final = " | "
_NUMBER: Final = re.compile(r"[-+(]?[$€£]?\s*\d[\d.,' ]*\s*[%)]?$")
_YEAR: Final = re.compile(r"(?:19|20)\d\d$")


def extract(source: Source) -> Extracted:
    """Read CSV or TSV as a stream; a single title above the table is the document's."""
    lines = _lines(source)
    sample = list(islice(lines, _SAMPLE_LINES))
    expected = "\t" if source.media_type == "text/tab-separated-values" else ","
    delimiter = find_delimiter(sample, expected)
    if sample and sample[0].strip().lower() == f"sep={delimiter}":
        del sample[0]
    table = rows(chain(sample, lines), delimiter)
    captions, header, first = _head(table)
    title = captions[0] if len(captions) == 1 else None
    return Extracted(title, _blocks(captions, header, chain(first, table)))


def _lines(source: Source) -> Iterator[str]:
    stream = TextIOWrapper(BytesIO(source.content), source.encoding or "utf-8", errors="replace", newline=None)
    # What `clean` takes for line ends stands inside a line here.
    return (clean(line.rstrip("\n")).replace("\n", " ") + "\n" for line in stream)


def _head(table: Iterator[list[str]]) -> tuple[list[str], list[str], list[list[str]]]:
    """Return captions, header (empty when there is none) and the rows that have been read beyond them."""
    beginning = list(islice(table, _MAX_CAPTION_ROWS + 2))
    width = max((_filled(row) for row in beginning), default=0)
    start = 0
    if width > 1:
        start = next(number for number, row in enumerate(beginning) if _filled(row) > 1)
    captions = [" ".join(filter(None, row)) for row in beginning[:start]]
    if start < len(beginning) and _is_header(beginning[start], beginning[start + 1 :]):
        return captions, beginning[start], beginning[start + 1 :]
    return captions, [], beginning[start:]


def _filled(row: list[str]) -> int:
    return sum(map(bool, row))


def _is_header(row: list[str], below: list[list[str]]) -> bool:
    """Tell names from values: each is there once, and none is a number that is not a year."""
    names = list(filter(None, row))
    plain = not any(_NUMBER.match(name) and not _YEAR.match(name) for name in names)
    return bool(below) and plain and len(set(names)) == len(names) and not all(map(_YEAR.match, names))


def _blocks(captions: list[str], header: list[str], table: Iterator[list[str]]) -> Iterator[Block]:
    yield from map(Section, captions)
    names = [one_line(name, _MAX_NAME_CHARACTERS) for name in header]
    lines: list[str] = []
    length = 0
    for row in table:
        line = _SEPARATOR.join(_named(row, names))
        if lines and length + len(line) > _SECTION_CHARACTERS:
            yield Section("\n".join(lines), "table")
            lines, length = [], 0
        lines.append(line)
        length += len(line)
    # A table of nothing but a header is one row.
    yield Section("\n".join(lines) or _SEPARATOR.join(filter(None, header)), "table")


def _named(row: list[str], names: list[str]) -> Iterator[str]:
    """Yield the cells that hold something; those beyond the header have no name."""
    for number, cell in enumerate(row):
        if cell:
            name = names[number] if number < len(names) else ""
            yield f"{name}: {cell}" if name else cell
