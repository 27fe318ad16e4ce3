"""The lines of a PDF page and where they stand.

PDFium keeps the characters of a page in reading order as far as it can tell; between them it puts line ends, and a
mark in place of a hyphen at a line's end.
"""

import math
import re
import string
import unicodedata
from collections.abc import Iterator, Sequence
from ctypes import c_double
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from statistics import median
from typing import Any, Final

import pypdfium2.raw as pdfium

# What PDFium puts where a line ends within a word.
LINE_END_HYPHEN: Final = "\x02"
_NEEDLESS: Final = re.compile("[\r\ufffe\uffff\0]")
# Fonts without a table of characters: their numbers below that of the blank are mostly blanks.
_CONTROLS: Final = re.compile("[\x01\x03-\x09\x0b\x0c\x0e-\x1f]")
# Ligatures, presentation forms and radicals: shapes of letters that nobody types into a search box.
_SHAPES: Final = re.compile("[\ufb00-\ufdff\ufe70-\ufefc\u2e80-\u2fd5\uf900-\ufaff]+")
# TeX's own font encoding has `ff` where PDFium expects a return key; bullets of Symbol and Wingdings are private.
_MISREAD: Final = ((re.compile(r"(?<=[A-Za-z])\u21b5"), "ff"), (re.compile("[\uf0a7\uf0b7\uf06c]"), "\u2022"))
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_RIGHT_TO_LEFT: Final = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_RIGHT_TO_LEFT_RUN: Final = re.compile(
    "[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc](?:[ \u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]*"
    "[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc])?"
)
# No line of writing is longer; a page that is one line is cut there.
_LINE: Final = re.compile(f"[^\n{LINE_END_HYPHEN}]{{1,20000}}{LINE_END_HYPHEN}?")
_GAP: Final = re.compile(r"(?<=\S)[ \r\t]+(?=\S)")
# An em and a half between two words is a gap between columns.
_CELL_GAP: Final = 1.5


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text, seen upright: `left`, `right` and `base` (its baseline, growing upwards) are in points.

    `turn` counts the quarter turns of its writing on the page, `cells` are its parts with wide gaps between them.
    """

    text: str
    left: float = 0.0
    right: float = 0.0
    base: float = 0.0
    size: float = 0.0
    turn: int = 0
    cells: tuple[str, ...] = field(default=())


class PageText:
    """The characters of a page, by their number; `handle` is an open text page of PDFium."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._x, self._y = c_double(), c_double()
        self._box, self._matrix = pdfium.FS_RECTF(), pdfium.FS_MATRIX()

    def lines(self) -> Iterator[Line]:
        """Yield the lines that hold more than blanks."""
        numbers = range(max(0, pdfium.FPDFText_CountChars(self._handle)))
        codes = map(partial(pdfium.FPDFText_GetUnicode, self._handle), numbers)
        for found in _LINE.finditer("".join(map(_character, codes))):
            yield from self._line(found.start(), found.group())

    def _line(self, start: int, text: str) -> Iterator[Line]:
        first = len(text) - len(text.lstrip())
        last = len(text.rstrip(LINE_END_HYPHEN + string.whitespace)) - 1
        if last < first:
            return
        placed = self._placed(start + first, start + last)
        if _RIGHT_TO_LEFT.search(text):
            parts = [_RIGHT_TO_LEFT_RUN.sub(lambda run: self._logical(start, run), text)]
        else:
            parts = list(self._cells(start, text, placed))
        cells = tuple(filter(None, map(_readable, parts)))
        if cells:
            yield replace(placed, text=" ".join(cells), cells=cells)

    def _placed(self, first: int, last: int) -> Line:
        turn = round(max(0.0, pdfium.FPDFText_GetCharAngle(self._handle, first)) / (math.pi / 2)) % 4
        left, base = self._origin(first, turn)
        right = max(left, self._end(last, turn))
        size = median(self._size(index) for index in (first, (first + last) // 2, last))
        return Line("", min(left, right), right, base, size, turn)

    def _origin(self, index: int, turn: int) -> tuple[float, float]:
        pdfium.FPDFText_GetCharOrigin(self._handle, index, self._x, self._y)
        return _upright(self._x.value, self._y.value, turn)

    def _end(self, index: int, turn: int) -> float:
        box = self._box
        if not pdfium.FPDFText_GetLooseCharBox(self._handle, index, box):
            return self._origin(index, turn)[0]
        return float((box.right, box.top, -box.left, -box.bottom)[turn])

    def _size(self, index: int) -> float:
        """Return the height of the font in points as it stands on the page."""
        matrix = self._matrix
        size: float = pdfium.FPDFText_GetFontSize(self._handle, index)
        if not pdfium.FPDFText_GetMatrix(self._handle, index, matrix):
            return size
        return abs(size) * math.hypot(matrix.c, matrix.d)

    def _cells(self, start: int, text: str, placed: Line) -> Iterator[str]:
        """Cut a line where a gap is too wide to be one between words."""
        begin = 0
        for gap in _GAP.finditer(text):
            before, behind = start + gap.start() - 1, start + gap.end()
            distance = self._origin(behind, placed.turn)[0] - self._end(before, placed.turn)
            if distance > _CELL_GAP * placed.size:
                yield text[begin : gap.start()]
                begin = gap.end()
        yield text[begin:]

    def _logical(self, start: int, run: re.Match[str]) -> str:
        """Put words that go from left to right into the order of reading.

        PDFium takes every page to be in the order of seeing, and turns what was in the order of reading already.
        """
        words, places = [], []
        for word in re.finditer(r"\S+", run.group()):
            begin = start + run.start() + word.start()
            letters = [self._origin(begin + index, 0)[0] for index in range(len(word.group()))]
            words.append(word.group() if _falling(letters, ties=False) else word.group()[::-1])
            places.append(letters[0])
        return " ".join(words if _falling(places, ties=True) else reversed(words))


def _falling(places: Sequence[float], *, ties: bool) -> bool:
    """Tell whether most steps go to the left; `ties` is the answer where none goes anywhere."""
    steps = [behind - before for before, behind in pairwise(places) if behind != before]
    return 2 * sum(step < 0 for step in steps) > len(steps) if steps else ties or len(places) == 1


def _character(code: int) -> str:
    return chr(code) if 0 < code <= 0x10FFFF else "\0"


def _readable(text: str) -> str:
    """Return the text in the characters that people type."""
    if _SURROGATE.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    text = _CONTROLS.sub(" ", text)
    text = _SHAPES.sub(lambda shapes: unicodedata.normalize("NFKC", shapes.group()), _NEEDLESS.sub("", text))
    for misread, meant in _MISREAD:
        text = misread.sub(meant, text)
    return unicodedata.normalize("NFC", text).strip()


def _upright(x: float, y: float, turn: int) -> tuple[float, float]:
    return ((x, y), (y, -x), (-x, -y), (-y, x))[turn]
