"""Word documents (.docx, .docm, .dotx): what a reader of the final text sees, in its order.

Tracked insertions are in, deletions and hidden text are out. Notes, comments and text boxes follow the paragraph, list
or table they belong to; headers and footers stand once, at the beginning.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from services.parser.document import Block, Extracted, Heading, Section, Source
from services.parser.formats import xml
from services.parser.formats.drawingml import graphic_sections
from services.parser.formats.equations import linear
from services.parser.formats.ooxml import Package
from services.parser.formats.tables import Table
from services.parser.formats.titles import titled
from services.parser.formats.word_styles import Numbering, Styles
from services.parser.formats.xml import Element

_CONTAINERS: Final = frozenset(
    {
        *("document", "body", "sdt", "sdtContent", "customXml", "smartTag", "tbl", "ins", "moveTo"),
        *("AlternateContent", "Choice", "hdr", "ftr"),
    }
)
_SKIPPED: Final = frozenset({"del", "moveFrom", "instrText", "delText", "delInstrText", "fldData", "rt", "sdtEndPr"})
_CHARACTERS: Final = {"tab": "\t", "ptab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_NOTES: Final = {"footnoteReference": "footnotes", "endnoteReference": "endnotes", "commentReference": "comments"}
_OFF: Final = ("0", "false", "off")


def extract(source: Source) -> Extracted:
    """Read a Word document; its title is among its properties, else it is the paragraph in the style Title."""
    package = Package(source.content, "word/document.xml")
    return titled(package.title, _blocks(package))


def _blocks(package: Package) -> Iterator[Block]:
    surroundings = _Surroundings(package)
    yield from _headers_and_footers(surroundings)
    yield from _part_blocks(surroundings, package.main)


def _part_blocks(surroundings: "_Surroundings", part: str) -> Iterator[Block]:
    reader = _Reader(surroundings, part)
    for element in surroundings.package.stream(part, _CONTAINERS):
        yield from reader.take(element)
    yield from reader.close()


def _headers_and_footers(surroundings: "_Surroundings") -> Iterator[Block]:
    seen = set()
    for part in surroundings.package.related(surroundings.package.main, "header", "footer"):
        for block in _part_blocks(surroundings, part):
            if block.text not in seen and any(map(str.isalpha, block.text)):
                seen.add(block.text)
                yield Section(block.text)


class _Surroundings:
    """The parts around the text: each is read when it is first asked for."""

    def __init__(self, package: Package) -> None:
        self.package = package
        self._notes: dict[str, dict[str, str]] = {}

    @cached_property
    def styles(self) -> Styles:
        return Styles(self._tree("styles"))

    @cached_property
    def numbering(self) -> Numbering:
        return Numbering.from_part(self._tree("numbering"))

    def note(self, kind: str, note_id: str) -> str:
        """Return the text of a note or comment, "" when it is missing."""
        if kind not in self._notes:
            notes = xml.named(self._tree(kind), "footnote", "endnote", "comment")
            self._notes[kind] = {xml.attribute(note, "id") or "": _note_text(note) for note in notes}
        return self._notes[kind].get(note_id, "")

    def _tree(self, kind: str) -> Element | None:
        parts = self.package.related(self.package.main, kind)
        return self.package.tree(parts[0]) if parts else None


@dataclass(slots=True)
class _Text:
    """The text of a paragraph, and the elements that belong to it but stand elsewhere."""

    pieces: list[str] = field(default_factory=list)
    boxes: list[Element] = field(default_factory=list)
    drawings: list[Element] = field(default_factory=list)
    references: list[tuple[str, str]] = field(default_factory=list)

    def gather(self, node: Element) -> None:
        for child in node:
            name = xml.name(child)
            if name == "t":
                self.pieces.append(child.text or "")
            elif name in _CHARACTERS:
                self.pieces.append(_CHARACTERS[name])
            elif name == "oMath":
                self.pieces.append(linear(child))
            elif name in _NOTES:
                self.references.append((_NOTES[name], xml.attribute(child, "id") or ""))
            elif name == "txbxContent":
                self.boxes.append(child)
            elif name == "graphicData":
                self.drawings.append(child)
                self.gather(child)
            elif not (name.endswith("Pr") or name in _SKIPPED or _is_hidden(child) or _is_repetition(child)):
                self.gather(child)

    @property
    def text(self) -> str:
        return "".join(self.pieces).strip()


@dataclass(slots=True)
class _Reader:
    """Turns the elements of a part into blocks; `asides` wait for the end of the list or table they belong to."""

    surroundings: _Surroundings
    part: str
    table: Table = field(default_factory=Table)
    table_element: Element | None = None
    items: list[str] = field(default_factory=list)
    asides: list[Block] = field(default_factory=list)

    def take(self, element: Element) -> Iterator[Block]:
        """Take the next paragraph or table row of the part."""
        if xml.name(element) == "tr":
            yield from self._row(element)
        elif xml.name(element) == "p":
            yield from self._end_table()
            yield from self._paragraph(element)

    def close(self) -> Iterator[Block]:
        """Return what is still open."""
        yield from self._end_table()
        yield from self._end_list()

    def _paragraph(self, element: Element) -> Iterator[Block]:
        text, asides = self._read(element)
        properties = xml.find(element, "pPr")
        level = self.surroundings.styles.heading_level(properties)
        numbering = self.surroundings.styles.numbering(properties) if text else None
        label = f"{self.surroundings.numbering.label(*numbering)} " if numbering else ""
        if numbering and level is None:
            self._item(text, label, "  " * numbering[1])
            self.asides += asides
            return
        yield from self._end_list()
        if text:
            yield Section(text) if level is None else Heading(level, label.removeprefix("- ") + text)
        yield from asides

    def _item(self, text: str, label: str, indent: str) -> None:
        margin = indent + " " * len(label)
        self.items.append(indent + label + text.replace("\n", "\n" + margin))

    def _row(self, row: Element) -> Iterator[Block]:
        table = next(row.iterancestors("{*}tbl"), None)
        if table is not self.table_element:
            yield from self._end_table()
            yield from self._end_list()
        self.table_element = table
        if xml.find(row, "trPr", "del") is not None:
            return
        cells = list(_nearest(row, "tc"))
        if len(cells) == 1:
            # A row of one cell is layout: its paragraphs and tables are those of the page.
            yield from self.table.end()
            yield from self._inner_blocks(cells[0])
        else:
            yield from self.table.row([self._cell(cell) for cell in cells])

    def _cell(self, cell: Element) -> str:
        texts = []
        for paragraph in _nearest(cell, "p"):
            text, asides = self._read(paragraph)
            texts.append(text)
            self.asides += asides
        return " ".join(filter(None, texts))

    def _read(self, paragraph: Element) -> tuple[str, list[Block]]:
        """Return a paragraph's text and what hangs on it: boxes, charts, notes."""
        found = _Text()
        found.gather(paragraph)
        asides: list[Block] = [block for box in found.boxes for block in self._inner_blocks(box)]
        for drawing in found.drawings:
            asides += graphic_sections(self.surroundings.package, self.part, drawing)
        notes = (self.surroundings.note(kind, note_id) for kind, note_id in found.references)
        return found.text, [*asides, *(Section(note) for note in notes if note)]

    def _inner_blocks(self, element: Element) -> Iterator[Block]:
        inner = _Reader(self.surroundings, self.part)
        for child in _nearest(element, "p", "tr"):
            yield from inner.take(child)
        yield from inner.close()

    def _end_table(self) -> Iterator[Block]:
        if self.table_element is not None:
            self.table_element = None
            yield from self.table.end()
            yield from self._end_list()

    def _end_list(self) -> Iterator[Block]:
        if self.items:
            yield Section("\n".join(self.items), "list")
            self.items.clear()
        yield from self.asides
        self.asides.clear()


def _nearest(element: Element, *names: str) -> Iterator[Element]:
    """Yield the elements of these names that lie in no other of them."""
    for child in element:
        if xml.name(child) in names:
            yield child
        elif xml.name(child) != "txbxContent" and not _is_repetition(child):
            yield from _nearest(child, *names)


def _note_text(note: Element) -> str:
    if xml.attribute(note, "type") in ("separator", "continuationSeparator", "continuationNotice"):
        return ""
    texts = []
    for paragraph in _nearest(note, "p"):
        found = _Text()
        found.gather(paragraph)
        texts.append(found.text)
    author = xml.attribute(note, "author")
    text = " ".join(filter(None, texts))
    return f"Comment ({author}): {text}" if text and author else text


def _is_hidden(run: Element) -> bool:
    vanish = xml.find(run, "rPr", "vanish") if xml.name(run) == "r" else None
    return vanish is not None and xml.attribute(vanish, "val") not in _OFF


def _is_repetition(element: Element) -> bool:
    """Tell the variant for old programs of what the element before says already."""
    return xml.name(element) == "Fallback" and element.getprevious() is not None
