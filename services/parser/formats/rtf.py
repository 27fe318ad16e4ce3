"""RTF: headings by outline level or style, paragraphs, lists and tables.

What Word shows beside the text is part of it: text boxes, footnotes and comments (in parentheses where they are
called), and each different header and footer once.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from services.parser.document import MAX_HEADING_CHARACTERS, Block, Extracted, Heading, Section, Source
from services.parser.errors import ExtractionError
from services.parser.formats.rtf_tokens import CHARACTERS, CHARSET_CODECS, SYMBOLS, tokens
from services.parser.text_encoding import usable_codec

_MAX_DEPTH: Final = 2_000
_MAX_LINES: Final = 200
_SKIPPED: Final = frozenset(
    {
        *("colortbl", "filetbl", "info", "listtable", "listoverridetable", "nonesttables", "nonshppict", "objdata"),
        *("pict", "revtbl", "rsidtbl", "rxe", "shprslt", "sp", "tc", "upr", "xe", "fldinst", "ftnsep", "ftnsepc"),
    }
)
# `\*` marks what older readers should skip; these hold text all the same.
_STARRED_TEXT: Final = frozenset({"annotation", "do", "dptxbxtext", "footnote", "moMath", "shpinst", "shptxt"})
_NOTES: Final = frozenset({"annotation", "footnote"})
_MARKERS: Final = frozenset({"listtext", "pntext"})
_MARGINS: Final = frozenset({"footer", "footerf", "footerl", "footerr", "header", "headerf", "headerl", "headerr"})
_HTML_TAG: Final = "htmltag"
_NAMES: Final = frozenset({"fonttbl", "stylesheet", _HTML_TAG})
_BREAKS: Final = frozenset({"page", "par", "sect"})
_SYSTEM_CODECS: Final = {"mac": "mac_roman", "pc": "cp437", "pca": "cp850"}
_BODY_OUTLINE: Final = 9
# Mail in HTML that Outlook has turned to RTF keeps its tags; only some of them have become paragraphs.
_BLOCK_TAG: Final = re.compile(
    r"\s*</?(?:address|blockquote|br|div|dd|dl|dt|h[1-6]|hr|li|ol|p|pre|table|td|th|tr|ul)\b", re.I
)
_HEADING_STYLE: Final = re.compile(r"\s*(?:heading\s+([1-9])|(title))\s*$", re.I)
_SPACES: Final = re.compile(r"[^\S\n\t]+")


def extract(source: Source) -> Extracted:
    """Read RTF; its title is that of the document information, else a heading of level 1 that stands first."""
    reader = _Reader()
    found = reader.blocks(source.content[max(0, source.content.find(b"{")) :])
    first = next(found, None)
    opening = first.text if isinstance(first, Heading) and first.level == 1 else None
    return Extracted(reader.title.strip() or opening, chain([first] if first else [], found))


@dataclass(slots=True)
class _Group:
    """What holds until the closing brace."""

    destination: str = "text"
    fallback_characters: int = 1
    font: int | None = None
    hidden: bool = False
    in_table: bool = False
    outline: int | None = None
    style: int = 0

    def copy(self) -> "_Group":
        """Return a group that begins like this one; `replace` takes five times as long, and files have millions."""
        return _Group(
            *(self.destination, self.fallback_characters, self.font, self.hidden),
            *(self.in_table, self.outline, self.style),
        )


@dataclass(slots=True)
class _Reader:
    """Follows groups and gathers paragraphs."""

    title: str = ""
    group: _Group = field(default_factory=_Group)
    outer: list[_Group] = field(default_factory=list)
    codec: str = "cp1252"
    fonts: dict[int, str] = field(default_factory=dict)
    levels: dict[int, int] = field(default_factory=dict)
    name: str = ""
    paragraph: list[str] = field(default_factory=list)
    undecoded: bytearray = field(default_factory=bytearray)
    marker: str = ""
    cells: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    lines_are_rows: bool = False
    margins: set[str] = field(default_factory=set)
    default_font: int | None = None
    to_skip: int = 0
    starred: bool = False

    def blocks(self, content: bytes) -> Iterator[Block]:
        for token in tokens(content):
            if token.kind == "bytes":
                self._take_bytes(token.data)
            elif token.kind == "word":
                yield from self._take_word(token.text, token.number)
            elif token.kind == "symbol":
                yield from self._take_symbol(token.text)
            elif token.kind == "open":
                self._open()
            else:
                yield from self._close()
                if not self.outer:
                    break
        yield from self._end_paragraph()
        yield from self._end_section()

    def _open(self) -> None:
        if len(self.outer) == _MAX_DEPTH:
            raise ExtractionError("corrupt", f"The groups of the RTF nest more than {_MAX_DEPTH} levels deep.")
        self._decode()
        self.outer.append(self.group)
        self.group = self.group.copy()
        self.to_skip = 0

    def _close(self) -> Iterator[Block]:
        self._decode()
        left, self.group = self.group, self.outer.pop() if self.outer else _Group()
        self.to_skip = 0
        self.starred = False
        if left.destination == self.group.destination:
            return
        if left.destination in _NOTES:
            while self.paragraph and not self.paragraph[-1].strip():
                self.paragraph.pop()
            self._write(")")
        elif left.destination in _MARGINS:
            yield from self._end_margin()
        elif left.destination in _NAMES:
            name, self.name = self.name, ""
            if left.destination == _HTML_TAG and _BLOCK_TAG.match(name):
                yield from self._end_paragraph()

    def _take_bytes(self, data: bytes) -> None:
        skipped = min(self.to_skip, len(data))
        self.to_skip -= skipped
        if self.group.destination == "skip" or self.group.hidden:
            return
        if self.group.destination in _NAMES:
            self._take_name(data.decode("latin-1"))
        else:
            self.undecoded += data[skipped:]

    def _take_name(self, text: str) -> None:
        self.name += text
        if self.group.destination == _HTML_TAG:
            return
        if self.group.destination == "stylesheet" and ";" in text:
            heading = _HEADING_STYLE.match(self.name.split(";")[0])
            if heading:
                self.levels.setdefault(self.group.style, int(heading.group(1) or 1))
            if self.group.outline is not None and self.group.outline < _BODY_OUTLINE:
                self.levels[self.group.style] = self.group.outline + 1
        if ";" in text:
            self.name = ""

    def _take_symbol(self, symbol: str) -> Iterator[Block]:
        if symbol == "*":
            self.starred = True
        elif symbol in "\r\n":
            yield from self._end_paragraph()
        elif symbol in SYMBOLS:
            self._write(SYMBOLS[symbol])

    def _take_word(self, word: str, number: int | None) -> Iterator[Block]:
        starred, self.starred = self.starred, False
        if self._take_destination(word, starred=starred) or self._take_property(word, number):
            return
        if word == "u":
            self._write(chr((number or 0) & 0xFFFF))
            self.to_skip = self.group.fallback_characters
        elif word in CHARACTERS:
            self._write(CHARACTERS[word])
        elif self.group.destination not in ("skip", "title"):
            yield from self._take_break(word)

    def _take_destination(self, word: str, *, starred: bool) -> bool:
        """Enter the destination that the word opens, if it opens one."""
        group = self.group
        if word == "title" and self.outer and self.outer[-1].destination == "skip":
            group.destination = "title"
        elif group.destination == "skip":
            return True
        elif word == _HTML_TAG:
            self._decode()
            group.destination = word
        elif word == "info" or word in _SKIPPED or (starred and word not in _STARRED_TEXT):
            group.destination = "skip"
        elif word in _NOTES and group.destination != word:
            self._write(" (")
            group.destination = word
        elif word in _MARKERS or word in _NAMES or word in _MARGINS:
            group.destination = word
        else:
            return word in _STARRED_TEXT
        return True

    def _take_property(self, word: str, number: int | None) -> bool:
        group = self.group
        match word:
            case "f":
                self._decode()
                group.font = number
            case "fcharset" if group.destination == "fonttbl" and group.font is not None:
                self.fonts[group.font] = CHARSET_CODECS.get(number or 0, "")
            case "uc":
                group.fallback_characters = max(0, number or 0)
            case "v" | "deleted":
                self._decode()
                group.hidden = number != 0
            case "plain":
                self._decode()
                group.font, group.hidden = self.default_font, False
            case "pard":
                group.in_table, group.outline, group.style = False, None, 0
            case "intbl":
                group.in_table = True
            case "outlinelevel":
                group.outline = number
            case "s" if number is not None:
                group.style = number
            case "deff":
                self.default_font = group.font = number
            case "ansicpg":
                self.codec = usable_codec(f"cp{number}") or self.codec
            case "mac" | "pc" | "pca":
                self.codec = _SYSTEM_CODECS[word]
            case _:
                return False
        return True

    def _take_break(self, word: str) -> Iterator[Block]:
        if word in _BREAKS and self.group.destination in _NOTES:
            self._write(" ")
        elif word in _BREAKS and self.group.destination in _MARGINS:
            self._write("\n")
        elif word in _BREAKS:
            yield from self._end_paragraph()
        elif word == "cell":
            self.cells.append(self._text())
        elif word == "nestcell":
            self._write(" ")
        elif word == "row":
            yield from self._end_row()

    def _write(self, text: str) -> None:
        self._decode()
        destination = self.group.destination
        if destination == "title":
            self.title += text
        elif destination in _MARKERS:
            self.marker += text
        elif destination != "skip" and destination not in _NAMES and not self.group.hidden:
            self.paragraph.append(text)

    def _decode(self) -> None:
        if self.undecoded:
            codec = self.fonts.get(self.group.font or 0) or self.codec
            text = self.undecoded.decode(codec, "replace")
            self.undecoded.clear()
            self._write(text)

    def _text(self) -> str:
        self._decode()
        # Characters beyond the first plane come as two numbers.
        text = "".join(self.paragraph).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        self.paragraph.clear()
        return _SPACES.sub(" ", text).strip()

    def _end_paragraph(self) -> Iterator[Block]:
        if self.group.in_table:
            self._write("\n")
            return
        marker, self.marker = self.marker.strip(), ""
        text = self._text()
        outline = self.group.outline
        level = outline + 1 if outline is not None else self.levels.get(self.group.style, _BODY_OUTLINE + 1)
        if text and level <= _BODY_OUTLINE and len(text) <= MAX_HEADING_CHARACTERS:
            yield from self._end_section()
            yield Heading(level, f"{marker} {text}" if marker[:1].isalnum() else text)
        elif text and marker:
            yield from self._add_line(f"{marker if marker[0].isalnum() else '-'} {text}", row=False)
        elif text:
            yield from self._end_section()
            yield Section(text)

    def _end_row(self) -> Iterator[Block]:
        if rest := self._text():
            self.cells.append(rest)
        cells = [" ".join(cell.split()) for cell in self.cells]
        self.cells.clear()
        if any(cells):
            yield from self._add_line(" | ".join(cells), row=True)

    def _add_line(self, line: str, *, row: bool) -> Iterator[Block]:
        if self.lines_are_rows != row or len(self.lines) == _MAX_LINES:
            yield from self._end_section()
        self.lines_are_rows = row
        self.lines.append(line)

    def _end_section(self) -> Iterator[Block]:
        if self.cells:
            yield from self._end_row()
        if self.lines:
            yield Section("\n".join(self.lines), "table" if self.lines_are_rows else "list")
            self.lines.clear()

    def _end_margin(self) -> Iterator[Block]:
        text = self._text()
        if text and text not in self.margins and len(self.margins) < _MAX_LINES:
            self.margins.add(text)
            yield Section(text)
