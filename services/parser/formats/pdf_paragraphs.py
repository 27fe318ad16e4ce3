"""From the lines of a PDF page to its paragraphs, lists and tables, by where the lines stand."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from services.parser.document import SectionKind
from services.parser.formats.pdf_lines import LINE_END_HYPHEN, Line

# Distances of baselines in font sizes: books have 1.2, typescripts up to 2.4.
_USUAL_PITCH: Final = 1.2
_WIDEST_PITCH: Final = 2.6
_PITCH_TOLERANCE: Final = 1.2
# Paragraphs and rows on paper are shorter; these keep the time in proportion to the page.
_MAX_LINES: Final = 200
_MAX_ROW_CHARACTERS: Final = 2_000
_SAME_ROW: Final = 0.45
_OTHER_SIZE: Final = 1.15
_INDENT: Final = 0.8
# A column whose end this many font sizes are left free has had no room for a longer word.
_RAGGED: Final = 2.0
_LETTER_WIDTH: Final = 0.5
_CELL_SEPARATOR: Final = " | "
_TABLE_ROWS: Final = 2
_BULLET: Final = re.compile(r"[•‣\u2043◦▪▫●○■□◆◇➢➤✓✔❖*\u2013\u2014-]\s+\S")
_NUMBER: Final = re.compile(r"\(?(?:\d{1,3}|[a-zA-Z]|[ivx]{2,5})[.)]\s+\S")
_SENTENCE_END: Final = re.compile(r"[.!?:;…。\uff01\uff1f”\"')\]]$")
_ENDS_IN_WORD: Final = re.compile(r"(?<=[^\W\d_])[-\u2010\xad]$")
# Chinese and Japanese put no blanks between words.
_UNSPACED: Final = re.compile("[\u3000-\u30ff\u3400-\u9fff\uff00-\uff65]{2}")
_LETTER_START: Final = re.compile(r"[^\W\d_]")


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Lines that belong together and what they say; `size` is that of their font."""

    text: str
    lines: tuple[Line, ...]
    kind: SectionKind = "text"

    @property
    def size(self) -> float:
        """The font size of the first line, in points."""
        return self.lines[0].size

    @property
    def turn(self) -> int:
        """The quarter turns of its writing on the page."""
        return self.lines[0].turn


def paragraphs(lines: Iterable[Line]) -> Iterator[Paragraph]:
    """Yield the paragraphs of a page in the order of its lines."""
    rows = list(_rows(lines))
    pitch = _pitch(rows)
    waiting: Paragraph | None = None
    for block in _blocks(rows, pitch):
        made = _made(block)
        if waiting and waiting.kind == made.kind == "list":
            waiting = Paragraph(f"{waiting.text}\n{made.text}", waiting.lines + made.lines, "list")
            continue
        if waiting:
            yield waiting
        waiting = made
    if waiting:
        yield waiting


def _rows(lines: Iterable[Line]) -> Iterator[Line]:
    """Put lines together that stand side by side, as an exponent or a cell does."""
    row: Line | None = None
    for line in lines:
        if row and _beside(row, line):
            row = _side_by_side(row, line)
            continue
        if row:
            yield row
        row = line
    if row:
        yield row


def _beside(row: Line, line: Line) -> bool:
    size = max(row.size, line.size)
    return (
        row.turn == line.turn
        and len(row.text) < _MAX_ROW_CHARACTERS
        and abs(row.base - line.base) < _SAME_ROW * size
        and line.left > row.right - 0.2 * size
        and not row.text.endswith(LINE_END_HYPHEN)
    )


def _side_by_side(row: Line, line: Line) -> Line:
    text = f"{row.text} {line.text}"
    apart = line.left - row.right > 1.5 * max(row.size, line.size)
    last, first = row.cells[-1:], line.cells[:1]
    joined = (*row.cells, *line.cells) if apart else (*row.cells[:-1], " ".join(last + first), *line.cells[1:])
    larger = row if row.size >= line.size else line
    return replace(row, text=text, right=line.right, base=larger.base, size=larger.size, cells=joined)


def _pitch(rows: Sequence[Line]) -> float:
    """Return the usual distance of baselines on the page, in font sizes."""
    steps = Counter(
        round((above.base - below.base) / above.size, 1)
        for above, below in pairwise(rows)
        if above.size and above.turn == below.turn and 0.7 < (above.base - below.base) / above.size < _WIDEST_PITCH
    )
    return steps.most_common(1)[0][0] if steps else _USUAL_PITCH


def _blocks(rows: Sequence[Line], pitch: float) -> Iterator[list[Line]]:
    block: list[Line] = []
    for number, row in enumerate(rows):
        behind = rows[number + 1] if number + 1 < len(rows) else None
        if len(block) == _MAX_LINES or (block and not _continues(block, row, behind, pitch)):
            yield block
            block = []
        block.append(row)
    if block:
        yield block


def _continues(block: Sequence[Line], row: Line, behind: Line | None, pitch: float) -> bool:
    above = block[-1]
    if above.text.endswith(LINE_END_HYPHEN) and _LETTER_START.match(row.text):
        return True
    sizes = sorted((above.size, row.size))
    step = above.base - row.base
    if above.turn != row.turn or sizes[1] > _OTHER_SIZE * sizes[0] or not _overlap(above, row):
        return False
    if not 0 < step <= max(pitch, _USUAL_PITCH) * _PITCH_TOLERANCE * above.size:
        return False
    if _table_ends(block, row) or _table_begins(above, row, behind):
        return False
    return bool(_bullet(block[0])) if _bullet(row) else not _indented(block, row, behind)


def _overlap(above: Line, row: Line) -> bool:
    return row.left <= above.right and above.left <= row.right


def _indented(block: Sequence[Line], row: Line, behind: Line | None) -> bool:
    """Tell the first line of a paragraph that only its indentation sets off."""
    edge = min(line.left for line in block[-3:])
    if not _INDENT * row.size < row.left - edge < 6 * row.size or _bullet(block[0]):
        return False
    returns = behind is None or behind.left < row.left - _INDENT / 2 * row.size
    return returns and bool(_SENTENCE_END.search(block[-1].text))


def _bullet(line: Line) -> str:
    found = _BULLET.match(line.text) or _NUMBER.match(line.text)
    return found.group() if found else ""


def _table_ends(block: Sequence[Line], row: Line) -> bool:
    return len(row.cells) == 1 and _is_table(block)


def _table_begins(above: Line, row: Line, behind: Line | None) -> bool:
    return len(above.cells) == 1 and len(row.cells) > 1 and behind is not None and len(behind.cells) > 1


def _is_table(block: Sequence[Line]) -> bool:
    return len(block) >= _TABLE_ROWS and all(len(line.cells) > 1 for line in block)


def _made(block: Sequence[Line]) -> Paragraph:
    lines = tuple(block)
    if _is_table(block):
        rows = (_CELL_SEPARATOR.join(line.cells).replace(LINE_END_HYPHEN, "-") for line in block)
        return Paragraph("\n".join(rows), lines, "table")
    items = sum(bool(_bullet(line)) for line in block)
    listed = bool(_BULLET.match(block[0].text)) or (items > 1 and bool(_bullet(block[0])))
    return Paragraph(_joined(block, listed=listed), lines, "list" if listed else "text")


def _joined(block: Sequence[Line], *, listed: bool) -> str:
    edge = max(line.right for line in block)
    text = block[0].text
    for above, line in pairwise(block):
        text = _with_next(text, line.text, _room(above, line, edge) if not listed else bool(_bullet(line)))
    return text[:-1] + "-" if text.endswith(LINE_END_HYPHEN) else text


def _room(above: Line, line: Line, edge: float) -> bool:
    """Tell whether the next line's first word would have fitted: then the line was ended on purpose."""
    word = len(line.text.split(maxsplit=1)[0])
    return edge - above.right > (word * _LETTER_WIDTH + _RAGGED) * line.size


def _with_next(text: str, line: str, ended: bool) -> str:
    if text.endswith(LINE_END_HYPHEN):
        # A hyphen before a capital or a digit belongs to the word: Jean-Pierre, 2019-2020.
        return text[:-1] + ("" if line[:1].islower() else "-") + line
    if ended:
        return f"{text}\n{line}"
    if _ENDS_IN_WORD.search(text) and line[:1].islower():
        return text[:-1] + line
    return text + line if _UNSPACED.fullmatch(text[-1] + line[0]) else f"{text} {line}"
