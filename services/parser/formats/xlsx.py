"""Workbooks (.xlsx, .xlsm, .xltx): a sheet is a page and its name a heading; formulas stand as their cached values.

Only cells that are there cost anything: a sheet's claimed dimension is not looked at. A merged cell stands once, where
it begins. An empty row ends a table. Hidden rows, columns and sheets are read, because filters hide data every day;
sheets that only a program can show ("very hidden") are not.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from services.parser.document import Block, Extracted, Heading, Section, Source
from services.parser.formats import drawingml, xml
from services.parser.formats.cell_values import NumberKind, kind_of_format, number_text
from services.parser.formats.ooxml import Package
from services.parser.formats.sheets import Cell, Rows, under
from services.parser.formats.titles import telling
from services.parser.formats.xml import Element

_REFERENCE: Final = re.compile(r"([A-Z]{1,3})(\d{1,7})", re.I)
_SHEET: Final = re.compile(r"xl/worksheets/[^/]+\.xml", re.I)
_TRUTH: Final = {"0": "FALSE", "1": "TRUE"}


def extract(source: Source) -> Extracted:
    """Read a workbook; its title is among its properties."""
    package = Package(source.content, "xl/workbook.xml")
    return Extracted(telling(package.title), _blocks(package))


def _blocks(package: Package) -> Iterator[Block]:
    workbook = package.tree(package.main)
    values = _Values.of(package, workbook)
    for number, (name, part) in enumerate(_sheets(package, workbook), 1):
        yield from under(Heading(1, name, number), _sheet(package, part, values, number))


def _sheets(package: Package, workbook: Element | None) -> list[tuple[str, str]]:
    listed = [
        (sheet.get("name") or "", part)
        for sheet in xml.named(workbook, "sheet")
        if sheet.get("state") != "veryHidden" and (part := package.target(package.main, xml.attribute(sheet, "id")))
    ]
    named = (name for name in package.names if _SHEET.fullmatch(name.lstrip("/")))
    return listed or [(name.rpartition("/")[2].removesuffix(".xml"), name) for name in named]


def _sheet(package: Package, part: str, values: "_Values", page: int) -> Iterator[Section]:
    rows = Rows(page)
    for element in package.stream(part, {"worksheet", "sheetData"}):
        if xml.name(element) == "row":
            yield from rows.take(list(_cells(element, values)), xml.integer(element.get("r")))
    yield from rows.end()
    for drawing in package.related(part, "drawing"):
        yield from _drawing(package, drawing, page)
    yield from _comments(package, part, page)


def _cells(row: Element, values: "_Values") -> Iterator[Cell]:
    column = 0
    for cell in row:
        reference = _REFERENCE.fullmatch(cell.get("r") or "")
        column = _column(reference.group(1)) if reference else column + 1
        if text := values.text(cell).strip():
            yield column, text


def _column(letters: str) -> int:
    number = 0
    for letter in letters.upper():
        number = number * 26 + ord(letter) - ord("A") + 1
    return number


@dataclass(frozen=True, slots=True)
class _Values:
    """What cells refer to: the shared strings, and the kind and width of each number format."""

    strings: list[str]
    formats: list[tuple[NumberKind, int]]
    since_1904: bool

    @classmethod
    def of(cls, package: Package, workbook: Element | None) -> "_Values":
        """Read them from the parts of a workbook."""
        strings = [
            _string(element)
            for part in package.related(package.main, "sharedStrings")
            for element in package.stream(part, {"sst"})
        ]
        styles = package.related(package.main, "styles")
        properties = next(xml.named(workbook, "workbookPr"), None)
        since_1904 = xml.attribute(properties, "date1904") in ("1", "true")
        return cls(strings, list(_formats(package.tree(styles[0]) if styles else None)), since_1904)

    def text(self, cell: Element) -> str:
        """Return the text of a cell; an error (`#N/A`) has none."""
        kind = cell.get("t") or "n"
        if kind == "inlineStr":
            return _string(xml.find(cell, "is"))
        value = xml.find(cell, "v")
        raw = "" if value is None else (value.text or "").strip()
        match kind:
            case "s":
                index = xml.integer(raw)
                return self.strings[index] if index is not None and index < len(self.strings) else ""
            case "n":
                style = xml.integer(cell.get("s")) or 0
                number_kind, width = self.formats[style] if style < len(self.formats) else ("general", 0)
                return number_text(raw, number_kind, width=width, since_1904=self.since_1904)
            case "b":
                return _TRUTH.get(raw, raw)
            case "d":
                return raw.replace("T", " ").removesuffix(" 00:00:00")
        return "" if kind == "e" else raw


def _formats(styles: Element | None) -> Iterator[tuple[NumberKind, int]]:
    codes = {one.get("numFmtId"): one.get("formatCode") or "" for one in xml.named(styles, "numFmt")}
    cell_formats = xml.find(styles, "cellXfs")
    for cell_format in () if cell_formats is None else cell_formats:
        format_id = cell_format.get("numFmtId")
        code = codes.get(format_id)
        kind = kind_of_format(xml.integer(format_id) or 0, code)
        yield kind, len(code or "") if kind == "padded" else 0


def _string(element: Element | None) -> str:
    """Return the text of a string; how its characters are pronounced is left out."""
    texts = []
    for child in () if element is None else element:
        if xml.name(child) == "t":
            texts.append(child.text or "")
        elif xml.name(child) == "r":
            texts += [text.text or "" for text in child if xml.name(text) == "t"]
    return "".join(texts)


def _drawing(package: Package, part: str, page: int) -> Iterator[Section]:
    """Yield the text boxes and charts on a sheet."""
    root = package.tree(part)
    for body in xml.named(root, "txBody"):
        if lines := drawingml.paragraphs(body):
            yield Section("\n".join(lines), page=page)
    if root is not None:
        yield from drawingml.graphic_sections(package, part, root, page)


def _comments(package: Package, part: str, page: int) -> Iterator[Section]:
    # Beside threads, the old form only says that this program is too old for them.
    parts = package.related(part, "threadedComment") or package.related(part, "comments")
    for comment in (
        one for comments in parts for one in xml.named(package.tree(comments), "comment", "threadedComment")
    ):
        text = xml.find(comment, "text")
        words = "" if text is None else "".join(map(str, text.itertext())).strip()
        if words:
            yield Section(f"Comment ({comment.get('ref')}): {words}", page=page)
