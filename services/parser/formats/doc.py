"""Legacy Word documents (.doc, .dot): the pieces of text, and what the properties of paragraphs make of them.

Structures and names from [MS-DOC]: the file information block (FIB), the piece table, pages of paragraph properties.
What tracking has deleted is not told from what stands. Text beyond the main one follows it: notes, headers and footers,
comments, text boxes.
"""

import re
import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from services.parser.document import Block, Extracted, Heading, Section, Source, clean
from services.parser.errors import ExtractionError
from services.parser.formats.ole import encrypted, streams
from services.parser.formats.tables import Table
from services.parser.formats.titles import TITLE_LEVEL, titled

_WORD_97: Final = 0xA5EC
_WORD_6: Final = 0xA5DC
# The start of the FIB: its size, and where flags and the bounds of the text stand in it.
_FIB_BYTES: Final = 32
_FLAGS, _TEXT_START, _TEXT_END = 10, 24, 28
_ENCRYPTED: Final = 0x0100
_IN_TABLE_1: Final = 0x0200
# Numbers of the pairs (offset, size) that the FIB ends with.
_PARAGRAPHS, _PIECES = 13, 33
_PROPERTIES_OF_PIECES: Final = 1
_ONE_BYTE: Final = 0x40000000
_PAGE_BYTES: Final = 512
_MAX_RUNS: Final = 29
_IN_TABLE: Final = 0x2416
_ROW_END: Final = 0x2417
# By the three highest bits of a property's code; None is a size of its own in the first byte.
_OPERAND_BYTES: Final = (1, 1, 2, 4, 2, 2, None, 3)
_HEADING_STYLES: Final = range(1, 10)
_CELL_END: Final = "\x07"
_PARAGRAPH_END: Final = re.compile("[\r\x07\x0c]")
_FIELD_CODE: Final = re.compile("\x13[^\x13\x14\x15]*(?:\x14([^\x13\x14\x15]*))?\x15")
_CHARACTERS: Final = str.maketrans({"\x0b": "\n", "\x0e": "\n", "\x1e": "-", "\x1f": "", "\xa0": " "})


@dataclass(frozen=True, slots=True)
class _Kind:
    """What the properties of a paragraph say: the index of its style, and its place in a table."""

    style: int = 0
    in_table: bool = False
    ends_row: bool = False


@dataclass(frozen=True, slots=True)
class _Paragraph:
    """Text with the mark that ended it."""

    text: str
    mark: str
    kind: _Kind


@dataclass(frozen=True, slots=True)
class _Piece:
    """Text that lies together in the file from byte `start` on, with one or two bytes a character."""

    text: str
    start: int
    width: int


def extract(source: Source) -> Extracted:
    """Read a document of Word 97 to 2003; of Word 6 and 95 the text without its structure.

    Raises ExtractionError `encrypted` or `corrupt`.
    """
    parts = streams(source.content, "WordDocument", "0Table", "1Table")
    main = parts.get("WordDocument", b"")
    try:
        return titled(None, _blocks(_paragraphs(*_text(main, parts))))
    except (struct.error, IndexError) as error:
        raise ExtractionError("corrupt", f"The document is damaged ({error}). Save it again as .docx.") from error


def _text(main: bytes, parts: dict[str, bytes]) -> tuple[list[_Piece], "_Properties"]:
    mark, flags = _u16(main, 0), _u16(main, _FLAGS)
    if flags & _ENCRYPTED:
        raise encrypted()
    if mark == _WORD_6:
        start, end = _u32(main, _TEXT_START), _u32(main, _TEXT_END)
        return [_Piece(main[start:end].decode("cp1252", "replace"), start, 1)], _Properties()
    table = parts.get("1Table" if flags & _IN_TABLE_1 else "0Table")
    if mark != _WORD_97 or not table:
        raise ExtractionError("corrupt", "The document is damaged: parts of it are missing. Save it again as .docx.")
    return list(_pieces(main, _slice(main, table, _PIECES))), _Properties(*_paragraph_runs(main, table))


def _slice(main: bytes, table: bytes, number: int) -> bytes:
    """Return the structure of the table stream that the FIB's pair of this number points to."""
    words = _FIB_BYTES + 2 + 2 * _u16(main, _FIB_BYTES)
    pairs = words + 2 + 4 * _u16(main, words) + 2
    offset, size = struct.unpack_from("<II", main, pairs + 8 * number)
    return table[offset : offset + size]


def _pieces(main: bytes, clx: bytes) -> Iterator[_Piece]:
    position = 0
    while clx[position] == _PROPERTIES_OF_PIECES:
        position += 3 + _u16(clx, position + 1)
    count = (_u32(clx, position + 1) - 4) // 12
    places = struct.unpack_from(f"<{count + 1}I", clx, position + 5)
    for number, (first, last) in enumerate(pairwise(places)):
        start = _u32(clx, position + 5 + 4 * (count + 1) + 8 * number + 2)
        width = 1 if start & _ONE_BYTE else 2
        start = (start & ~_ONE_BYTE) // 2 if width == 1 else start
        codec = "cp1252" if width == 1 else "utf-16-le"
        yield _Piece(main[start : start + (last - first) * width].decode(codec, "replace"), start, width)


def _paragraph_runs(main: bytes, table: bytes) -> tuple[list[int], list[_Kind]]:
    """Return where paragraphs start in the file, and the kind of each."""
    plex = _slice(main, table, _PARAGRAPHS)
    count = max(0, (len(plex) - 4) // 8)
    runs: dict[int, _Kind] = {}
    for number in struct.unpack_from(f"<{count}I", plex, 4 * (count + 1)) if count else ():
        page = main[number * _PAGE_BYTES : (number + 1) * _PAGE_BYTES]
        if len(page) == _PAGE_BYTES:
            runs.update(_page_runs(page))
    starts = sorted(runs)
    return starts, [runs[start] for start in starts]


def _page_runs(page: bytes) -> Iterator[tuple[int, _Kind]]:
    count = min(page[-1], _MAX_RUNS)
    for number in range(count):
        offset = page[4 * (count + 1) + 13 * number] * 2
        size = page[offset] * 2 - 1 if page[offset] else page[offset + 1] * 2 if offset + 1 < _PAGE_BYTES else 0
        properties = page[offset + (1 if page[offset] else 2) :][:size] if offset else b""
        set_properties = set(_switched_on(properties[2:]))
        yield (
            _u32(page, 4 * number),
            _Kind(_u16(properties, 0), _IN_TABLE in set_properties, _ROW_END in set_properties),
        )


def _switched_on(properties: bytes) -> Iterator[int]:
    """Yield the codes of those properties whose operand is 1."""
    position = 0
    while position + 3 <= len(properties):
        code = _u16(properties, position)
        if properties[position + 2] == 1:
            yield code
        size = _OPERAND_BYTES[code >> 13]
        position += 2 + (1 + properties[position + 2] if size is None else size)


@dataclass(frozen=True, slots=True)
class _Properties:
    """The kinds of paragraphs by their places in the file."""

    starts: Sequence[int] = ()
    kinds: Sequence[_Kind] = ()

    def at(self, place: int) -> _Kind:
        """Return the kind of the paragraph whose mark is at byte `place`."""
        found = bisect_right(self.starts, place) - 1
        return self.kinds[found] if found >= 0 else _Kind()


def _paragraphs(pieces: Iterable[_Piece], properties: _Properties) -> Iterator[_Paragraph]:
    begun = ""
    for piece in pieces:
        position = 0
        for end in _PARAGRAPH_END.finditer(piece.text):
            text = begun + piece.text[position : end.start()]
            kind = properties.at(piece.start + end.start() * piece.width)
            yield _Paragraph(_without_codes(text), end.group(), kind)
            position, begun = end.end(), ""
        begun += piece.text[position:]
    yield _Paragraph(_without_codes(begun), "\r", _Kind())


def _without_codes(text: str) -> str:
    """Return the text as it is read: fields by their results, no anchors of pictures and notes."""
    while (shorter := _FIELD_CODE.sub(lambda field: field.group(1) or "", text)) != text:
        text = shorter
    return clean(text.translate(_CHARACTERS)).strip()


def _blocks(paragraphs: Iterable[_Paragraph]) -> Iterator[Block]:
    table, cells, cell = Table(), list[str](), list[str]()
    for one in paragraphs:
        if one.kind.ends_row:
            yield from table.row(cells)
            cells.clear()
        elif one.mark == _CELL_END:
            cells.append("\n".join(filter(None, [*cell, one.text])))
            cell.clear()
        elif one.kind.in_table:
            cell.append(one.text)
        elif one.text and one.kind.style in _HEADING_STYLES:
            yield from table.end()
            yield Heading(one.kind.style + TITLE_LEVEL, one.text)
        elif one.text:
            yield from table.end()
            yield Section(one.text)
    yield from table.row(cells)
    yield from table.end()


def _u16(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 2], "little")


def _u32(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 4], "little")
