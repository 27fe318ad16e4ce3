"""OpenDocument (ODF 1.3): text documents, spreadsheets and presentations, and their templates.

In spreadsheets a sheet is a page, in presentations a slide; their names and titles are headings. Repeated empty cells
and rows cost nothing.
"""

import posixpath
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

from services.parser.document import Block, Extracted, Heading, Section, Source
from services.parser.errors import ExtractionError
from services.parser.formats import tables, xml
from services.parser.formats.archive import Archive
from services.parser.formats.cell_values import number_text
from services.parser.formats.odf_text import Reader, Styles, cells_of, nearest
from services.parser.formats.sheets import Cell, Rows, under
from services.parser.formats.titles import telling, titled
from services.parser.formats.xml import Element

_CONTAINERS: Final = frozenset(
    {
        *("document-content", "body", "text", "spreadsheet", "presentation", "drawing", "section", "table"),
        *("table-rows", "table-header-rows", "table-row-group", "index-body", "table-of-content", "index-title"),
    }
)
_STYLES: Final = ("automatic-styles", "styles")
_PAGE_ENDS: Final = ("header", "header-first", "header-left", "footer", "footer-first", "footer-left")
_SLIDE_FURNITURE: Final = frozenset({"header", "footer", "date-time", "page-number"})
# A row that claims to stand a million times is decoration.
_MAX_REPEATS: Final = 100


def extract(source: Source) -> Extracted:
    """Read an OpenDocument file; its title is among its properties, else it is its first title in the text.

    Raises ExtractionError `encrypted` when it is under a password.
    """
    document = _Document(source.content)
    if "spreadsheet" in source.media_type:
        return Extracted(telling(document.title), document.blocks())
    return titled(document.title, document.blocks())


class _Document:
    """An opened file and what its parts have in common."""

    def __init__(self, content: bytes) -> None:
        self._archive = Archive(content)
        manifest = self._tree("META-INF/manifest.xml")
        if next(xml.named(manifest, "encryption-data"), None) is not None:
            raise ExtractionError("encrypted", "The document is protected by a password. Remove it and send it again.")
        if "content.xml" not in self._archive:
            raise ExtractionError("corrupt", "The file is damaged: it has no 'content.xml'. Export it again.")
        self._styles = Styles()
        self._seen: set[str] = set()
        self._pages = 0

    @property
    def title(self) -> str | None:
        """The title among the document's properties."""
        return next((element.text for element in xml.named(self._tree("meta.xml"), "title")), None)

    def blocks(self) -> Iterator[Block]:
        """Yield headers and footers once, then the content."""
        common = self._tree("styles.xml")
        self._styles.add(common)
        reader = Reader(self._styles, self._embedded)
        yield from self._page_ends(reader, common)
        with self._archive.open("content.xml") as file:
            for sheet, elements in groupby(xml.stream(file, _CONTAINERS), _sheet_of):
                if sheet is None:
                    yield from self._text(reader, elements)
                else:
                    yield from self._sheet(xml.attribute(sheet, "name") or "", elements)
        yield from reader.end_table()

    def _tree(self, name: str) -> Element | None:
        return xml.parse(self._archive.read(name))

    def _text(self, reader: Reader, elements: Iterable[Element]) -> Iterator[Block]:
        for element in elements:
            if xml.name(element) in _STYLES:
                self._styles.add(element)
            elif xml.name(element) == "page":
                yield from self._slide(element)
            else:
                yield from reader.take(element)

    def _page_ends(self, reader: Reader, common: Element | None) -> Iterator[Block]:
        for part in xml.named(xml.find(common, "master-styles"), *_PAGE_ENDS):
            for paragraph in nearest(part, "p", "h"):
                text = reader.text(paragraph)
                if text not in self._seen and any(map(str.isalpha, text)):
                    self._seen.add(text)
                    yield Section(text)

    def _sheet(self, name: str, elements: Iterable[Element]) -> Iterator[Block]:
        self._pages += 1
        yield from under(Heading(1, name, self._pages), self._rows(elements, self._pages))

    def _rows(self, elements: Iterable[Element], page: int) -> Iterator[Block]:
        rows = Rows(page)
        reader = Reader(self._styles, self._embedded, page)
        for element in elements:
            if xml.name(element) == "table-row":
                cells = [(column, text) for column, cell in cells_of(element) if (text := _cell_text(reader, cell))]
                yield from _repeated(rows, cells, xml.integer(xml.attribute(element, "number-rows-repeated")) or 1)
            elif xml.name(element) == "shapes":
                yield from rows.end()
                yield from reader.inner_blocks(element)
        yield from rows.end()
        yield from reader.take_asides()

    def _slide(self, slide: Element) -> Iterator[Block]:
        self._pages += 1
        reader = Reader(self._styles, self._embedded, self._pages)
        title, blocks = "", list[Block]()
        for shape in slide:
            kind = xml.attribute(shape, "class")
            if kind == "title" and not title:
                title = " ".join(reader.text(paragraph) for paragraph in nearest(shape, "p", "h")).strip()
            elif kind not in _SLIDE_FURNITURE:
                blocks += reader.take(shape)
        notes = xml.find(slide, "notes")
        for shape in () if notes is None else notes:
            blocks += reader.take(shape) if xml.attribute(shape, "class") == "notes" else ()
        if title or blocks:
            # Without a heading of its own, a slide would stand under that of the slide before.
            yield Heading(1, title or f"Slide {self._pages}", self._pages)
            yield from blocks

    def _embedded(self, reference: str) -> Iterator[Block]:
        """Yield what an embedded chart or equation says, each object once."""
        root = self._tree(posixpath.join(posixpath.normpath(reference), "content.xml"))
        if root is None or reference in self._seen:
            return
        self._seen.add(reference)
        if xml.name(root) == "math":
            text = "".join(str(one.text or "") for one in xml.named(root, "mi", "mn", "mo", "mtext"))
            yield from [Section(text)] if text.strip() else []
            return
        reader = Reader(self._styles, lambda _: ())
        for title in xml.named(root, "title"):
            yield from reader.inner_blocks(title)
        rows = [[reader.cell_text(cell) for _, cell in cells_of(row)] for row in xml.named(root, "table-row")]
        yield from tables.sections(rows)


def _sheet_of(element: Element) -> Element | None:
    """Return the sheet that an element of a spreadsheet lies in."""
    parents = ((table, table.getparent()) for table in element.iterancestors("{*}table"))
    return next((table for table, parent in parents if parent is not None and xml.name(parent) == "spreadsheet"), None)


def _cell_text(reader: Reader, cell: Element) -> str:
    if xml.attribute(cell, "value-type") == "date":
        return (xml.attribute(cell, "date-value") or "").replace("T", " ").removesuffix(" 00:00:00")
    # Cells that no program has laid out have a value but no text.
    return reader.cell_text(cell) or number_text(xml.attribute(cell, "value") or "")


def _repeated(rows: Rows, cells: list[Cell], times: int) -> Iterator[Section]:
    for _ in range(min(times, _MAX_REPEATS) if cells else 1):
        yield from rows.take(cells)
