"""The text of OpenDocument: paragraphs, headings, lists, tables, and what hangs on them.

Notes, comments and text boxes follow the paragraph, list or table they belong to.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from services.parser.document import Block, Heading, Section
from services.parser.formats import xml
from services.parser.formats.tables import Table
from services.parser.formats.titles import TITLE_LEVEL
from services.parser.formats.xml import Element

SHAPES: Final = frozenset(
    {
        *("frame", "custom-shape", "g", "rect", "line", "polyline", "polygon", "regular-polygon", "path", "circle"),
        *("ellipse", "connector", "caption", "measure", "text-box", "control"),
    }
)
_SKIPPED: Final = frozenset(
    {
        "note-citation",
        "ruby-text",
        "hidden-text",
        "tracked-changes",
        "title",
        "desc",
        "notes",
        "page-number",
        "page-count",
    }
)
_WHITE: Final = re.compile(r"[ \t\r\n]+")
_LONGEST_BLANK: Final = 100
# A cell that claims to stand in 16,384 columns is decoration.
_MAX_REPEATS: Final = 100


@dataclass(slots=True)
class Styles:
    """What paragraph and list styles of a document tell about its structure."""

    parents: dict[str, str] = field(default_factory=dict)
    ordered_levels: dict[str, set[int]] = field(default_factory=dict)

    def add(self, root: Element | None) -> None:
        """Take in the styles of a part."""
        for style in xml.named(root, "style"):
            self.parents[xml.attribute(style, "name") or ""] = xml.attribute(style, "parent-style-name") or ""
        for style in xml.named(root, "list-style"):
            levels = (xml.integer(xml.attribute(one, "level")) for one in xml.named(style, "list-level-style-number"))
            self.ordered_levels[xml.attribute(style, "name") or ""] = {level for level in levels if level}

    def is_title(self, paragraph: Element) -> bool:
        """Tell a paragraph in the style Title, directly or through an automatic style."""
        style = xml.attribute(paragraph, "style-name") or ""
        return "Title" in (style, self.parents.get(style))


@dataclass(slots=True)
class Reader:
    """Turns elements into blocks; `embedded` returns what the object behind a reference says, a chart for example."""

    styles: Styles
    embedded: Callable[[str], Iterable[Block]]
    page: int | None = None
    table: Table = field(default_factory=Table)
    table_element: Element | None = None
    asides: list[Block] = field(default_factory=list)

    def take(self, element: Element) -> Iterator[Block]:
        """Take the next paragraph, heading, list, table row or shape."""
        name = xml.name(element)
        if name == "table-row":
            yield from self._row(element)
            return
        yield from self.end_table()
        if name in ("p", "h"):
            yield from self._paragraph(element, name)
        elif name == "list":
            lines = list(self._items(element, 1, None))
            yield from [Section("\n".join(lines), "list", page=self.page)] if lines else []
        elif name in SHAPES or name in ("shapes", "table"):
            yield from self.inner_blocks(element)
        yield from self.take_asides()

    def end_table(self) -> Iterator[Block]:
        """Close an open table."""
        if self.table_element is not None:
            self.table_element = None
            yield from self.table.end()
            yield from self.take_asides()

    def inner_blocks(self, element: Element) -> Iterator[Block]:
        """Yield the blocks inside a shape, a cell or a note, without those that hang on it."""
        inner = Reader(self.styles, self.embedded, self.page, Table(self.page))
        for child in nearest(element, "p", "h", "list", "table-row"):
            yield from inner.take(child)
        yield from inner.end_table()
        for one in xml.named(element, "object"):
            yield from self.embedded(xml.attribute(one, "href") or "")

    def text(self, element: Element) -> str:
        """Return the text of a paragraph; what hangs on it goes to the asides."""
        return "".join(self._pieces(element)).strip()

    def cell_text(self, cell: Element) -> str:
        """Return the text of a cell on one line."""
        found = nearest(cell, "p", "h", "annotation", *SHAPES)
        return " ".join(filter(None, ("".join(self._piece(one, xml.name(one))).strip() for one in found)))

    def _paragraph(self, element: Element, name: str) -> Iterator[Block]:
        text = self.text(element)
        outline = xml.integer(xml.attribute(element, "outline-level")) or 1
        if not text:
            return
        if name == "h":
            yield Heading(outline + TITLE_LEVEL, text, self.page)
        elif self.styles.is_title(element):
            yield Heading(TITLE_LEVEL, text, self.page)
        else:
            yield Section(text, page=self.page)

    def _items(self, element: Element, level: int, style: str | None) -> Iterator[str]:
        style = xml.attribute(element, "style-name") or style
        ordered = level in self.styles.ordered_levels.get(style or "", ())
        items = (child for child in element if xml.name(child) in ("list-item", "list-header"))
        for number, item in enumerate(items, 1):
            marker = f"{number}. " if ordered else "- "
            for child in item:
                if xml.name(child) == "list":
                    yield from self._items(child, level + 1, style)
                elif xml.name(child) in ("p", "h") and (text := self.text(child)):
                    yield "  " * (level - 1) + marker + text
                    marker = " " * len(marker)

    def _row(self, row: Element) -> Iterator[Block]:
        table = next(row.iterancestors("{*}table"), None)
        if table is not self.table_element:
            yield from self.end_table()
        self.table_element = table
        cells = list(cells_of(row))
        if len(cells) == 1:
            # A row of one cell is layout: its paragraphs and tables are those of the page.
            yield from self.table.end()
            yield from self.inner_blocks(cells[0][1])
        else:
            yield from self.table.row([self.cell_text(cell) for _, cell in cells])

    def _pieces(self, node: Element) -> Iterator[str]:
        yield _WHITE.sub(" ", node.text or "")
        for child in node:
            yield from self._piece(child, xml.name(child))
            yield _WHITE.sub(" ", child.tail or "")

    def _piece(self, node: Element, name: str) -> Iterator[str]:
        if name == "s":
            yield " " * min(xml.integer(xml.attribute(node, "c")) or 1, _LONGEST_BLANK)
        elif name in ("tab", "line-break"):
            yield "\t" if name == "tab" else "\n"
        elif name in ("note", "annotation"):
            self._keep_note(node, name)
        elif name in SHAPES:
            self.asides += self.inner_blocks(node)
        elif name not in _SKIPPED:
            yield from self._pieces(node)

    def _keep_note(self, node: Element, name: str) -> None:
        body = " ".join(filter(None, (self.text(one) for one in nearest(node, "p", "h"))))
        author = next((one.text for one in xml.named(node, "creator")), None) if name == "annotation" else None
        if body:
            self.asides.append(Section(f"Comment ({author}): {body}" if author else body, page=self.page))

    def take_asides(self) -> Iterator[Block]:
        """Return what hangs on the text that was read last."""
        yield from self.asides
        self.asides.clear()


def cells_of(row: Element) -> Iterator[tuple[int, Element]]:
    """Yield the cells of a row with their columns, counted from 1; repeated ones only where they have content."""
    column = 1
    for cell in row:
        if xml.name(cell) not in ("table-cell", "covered-table-cell"):
            continue
        repeats = xml.integer(xml.attribute(cell, "number-columns-repeated")) or 1
        for offset in range(min(repeats, _MAX_REPEATS) if len(cell) else 1):
            yield column + offset, cell
        column += repeats


def nearest(element: Element, *names: str) -> Iterator[Element]:
    """Yield the elements of these names that lie in no other of them."""
    for child in element:
        if xml.name(child) in names:
            yield child
        elif xml.name(child) not in _SKIPPED:
            yield from nearest(child, *names)
