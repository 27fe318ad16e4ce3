"""Splitting text into sentences whose spans point back into it.

Blocks first (blank lines, list items, headings, table rows, short lines), then the sentences of each block.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

MAX_SENTENCE_CHARACTERS: Final = 500
# A line that ends this early was ended by its author, not by an editor that wraps at a margin.
SHORT_LINE_CHARACTERS: Final = 50

_LIST_MARKER: Final = re.compile(r"(?:[-*+>\u2013\u2022\u2023\u25e6]|\d{1,3}[.)]|[a-z][.)])[ \t]+")
_STARTS_LINE: Final = re.compile(_LIST_MARKER.pattern + r"|#{1,6}[ \t]|\|")
_BLANK_LINES: Final = re.compile(r"\n[ \t\r]*\n\s*")
_LINE_END: Final = re.compile(r"[ \t\r]*\n[ \t]*")
_CELL_SEPARATOR: Final = " | "
_TABLE_RULE: Final = re.compile(r"\|?\s*:?-{2,}:?\s*(?:\|\s*:?-+:?\s*)*\|?")
_DIGIT: Final = re.compile(r"\d")
_HEADING: Final = re.compile(r"#{1,6}[ \t]+")
_QUESTION: Final = re.compile(r"[?\uff1f]$")
# Latin enders need white space behind their closing quotes and brackets, ideographic ones do not.
_IDEOGRAPHIC_ENDERS: Final = "\u3002\uff01\uff1f"
_SENTENCE_END: Final = re.compile(
    rf"[.!?\u2026]+[\"'\u201d\u2019\u00bb)\]]*(?=\s)|[{_IDEOGRAPHIC_ENDERS}]+[\u201d\u2019\u300d\u300f\uff09]*"
)
_WORD_BEFORE: Final = re.compile(r"[^\s(\[\"'\u201c\u2018]+$")
_ACRONYM: Final = re.compile(r"(?:[A-Za-z]\.)+[A-Za-z]|[A-Z]")
_STARTER: Final = re.compile(r"(?:The|This|These|It|He|She|They|We|In|On|At|As|A|An|But|However|When|If)\b")
_ABBREVIATION: Final = re.compile(
    r"mrs?|ms|dr|prof|[sj]r|[sm]t|gen|col|capt|lt|sgt|rev|hon|gov|sen|rep|pres|vs|al|eq|figs?|nos?|vol|pp|eds?|approx"
    r"|ca?|cf|dept|est|inc|ltd|corp?|bros|e\.g|i\.e|viz|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of a text: `text` is `source[start:end]`; `lead` is the heading or question that it stands under."""

    text: str
    start: int
    end: int
    lead: str = ""

    @property
    def scored_text(self) -> str:
        """Return what tells whether the sentence answers something: its lead and itself."""
        return f"{self.lead} {self.text}" if self.lead else self.text


def split_sentences(source: str, headings: Collection[str] = ()) -> list[Sentence]:
    """Return the sentences of a text in order, without overlap, each at most 500 characters long.

    A heading or a question answers nothing by itself: it becomes the lead of the sentence that follows it; `headings`
    tells which lines at the beginning are such. A table's row is a sentence, and the row that names its columns the
    lead of those below.
    """
    lead, start = _leading_heading(source, headings)
    spans = list(_spans(source, start))
    sentences: list[Sentence] = []
    header, in_table = "", False
    for place, (start, end) in enumerate(spans):
        text = source[start:end]
        starts_table, in_table = not in_table, _is_row(text)
        header = header if in_table else ""
        if _HEADING.match(text) or _QUESTION.search(text):
            lead = _HEADING.sub("", text, count=1)
        elif _TABLE_RULE.fullmatch(text):
            continue
        elif starts_table and _names_columns(text, _text_after(source, spans, place)):
            header = text
        else:
            sentences.append(Sentence(text, start, end, " ".join(filter(None, (lead, header)))))
            lead = ""
    return sentences


def _leading_heading(source: str, headings: Collection[str]) -> tuple[str, int]:
    """Return the last of the headings at the beginning, and where the text behind them starts."""
    lead, place = "", 0
    for line in source.splitlines(keepends=True):
        if line.strip() and line.strip() not in headings:
            break
        lead, place = line.strip() or lead, place + len(line)
    return lead, place


def _text_after(source: str, spans: list[tuple[int, int]], place: int) -> str:
    start, end = spans[place + 1] if place + 1 < len(spans) else (0, 0)
    return source[start:end]


def _is_row(text: str) -> bool:
    return text.startswith("|") or _CELL_SEPARATOR in text


def _names_columns(row: str, below: str) -> bool:
    """A first row names columns when a rule is drawn below it, or when the numbers begin below it.

    A row whose cells bring their names along (`name: value`, as CSV is read) needs nobody to name them.
    """
    cells = row.split(_CELL_SEPARATOR)
    if not (_is_row(row) and _is_row(below)) or all(": " in cell for cell in cells):
        return False
    return bool(_TABLE_RULE.fullmatch(below)) or (not _DIGIT.search(row) and bool(_DIGIT.search(below)))


def _spans(source: str, begin: int) -> Iterator[tuple[int, int]]:
    for start, end in _blocks(source, begin):
        block = source[start:end]
        parts = ((start, end),) if _is_row(block) else _sentences(source, start, end)
        for sentence in parts:
            yield from _bounded(source, *_trimmed(source, *sentence))


def _blocks(source: str, start: int) -> Iterator[tuple[int, int]]:
    for match in _BLANK_LINES.finditer(source, start):
        yield from _lines(source, start, match.start())
        start = match.end()
    yield from _lines(source, start, len(source))


def _lines(source: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut a paragraph where a line break means something, and read over it where an editor only wrapped the line."""
    line_start = start
    for match in _LINE_END.finditer(source, start, end):
        line, following = source[line_start : match.start()], source[match.end() : match.end() + 8]
        line_start = match.end()
        if _ends_block(line, following):
            yield start, match.start()
            start = match.end()
    yield start, end


def _ends_block(line: str, following: str) -> bool:
    if _STARTS_LINE.match(following) or _HEADING.match(line) or _is_row(line):
        return True
    return len(line) < SHORT_LINE_CHARACTERS and following[:1].isupper() and not line.endswith((",", ";", "-"))


def _sentences(source: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    if marker := _LIST_MARKER.match(source, start, end):
        start = marker.end()
    for match in _SENTENCE_END.finditer(source, start, end):
        if _ends_sentence(source, start, match, end):
            yield start, match.end()
            start = match.end()
    yield start, end


def _ends_sentence(source: str, start: int, match: re.Match[str], end: int) -> bool:
    ender = match.group()
    following = source[match.end() : end].lstrip()[:10]
    if ender[0] in _IDEOGRAPHIC_ENDERS:
        return True
    if ender[0] != "." or ender.startswith("..") or following[:1].islower():
        return not following[:1].islower()
    word = _WORD_BEFORE.search(source, max(start, match.start() - 20), match.start())
    if word is None:
        return True
    if _ACRONYM.fullmatch(word.group()):
        return bool(_STARTER.match(following))
    return not _ABBREVIATION.fullmatch(word.group())


def _trimmed(source: str, start: int, end: int) -> tuple[int, int]:
    text = source[start:end]
    return end - len(text.lstrip()), start + len(text.rstrip())


def _bounded(source: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut what is too long for a quote at its last space within the limit."""
    while end - start > MAX_SENTENCE_CHARACTERS:
        space = source.rfind(" ", start + 1, start + MAX_SENTENCE_CHARACTERS)
        cut = space if space > start else start + MAX_SENTENCE_CHARACTERS
        yield _trimmed(source, start, cut)
        start, end = _trimmed(source, cut, end)
    if start < end:
        yield start, end
