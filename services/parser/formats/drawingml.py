"""What drawings of Office Open XML say (DrawingML): paragraphs of shapes, tables, charts, diagrams."""

from collections.abc import Iterator

from services.parser.document import Section
from services.parser.formats import tables, xml
from services.parser.formats.equations import linear
from services.parser.formats.ooxml import Package
from services.parser.formats.xml import Element


def paragraph_text(paragraph: Element) -> str:
    """Return the text of an `a:p`."""
    return "".join(_pieces(paragraph)).strip()


def paragraphs(body: Element | None) -> list[str]:
    """Return the paragraphs of a text body that have text."""
    texts = (paragraph_text(paragraph) for paragraph in xml.named(body, "p"))
    return [text for text in texts if text]


def table_rows(table: Element) -> Iterator[list[str]]:
    """Yield the rows of an `a:tbl`; a merged cell stands once, where it begins."""
    for row in xml.named(table, "tr"):
        cells = [cell for cell in row if xml.name(cell) == "tc"]
        yield [" ".join(paragraphs(cell)) if not _continues(cell) else "" for cell in cells]


def graphic_sections(package: Package, part: str, graphic: Element, page: int | None = None) -> Iterator[Section]:
    """Yield what the charts and diagrams inside `graphic`, an element of `part`, say."""
    for link in xml.named(graphic, "chart", "relIds"):
        target = package.target(part, xml.attribute(link, "id" if xml.name(link) == "chart" else "dm"))
        root = package.tree(target) if target else None
        if root is not None and xml.name(link) == "chart":
            yield from _chart(root, page)
        elif root is not None and (lines := paragraphs(root)):
            yield Section("\n".join(lines), "list", page=page)


def _pieces(node: Element) -> Iterator[str]:
    for child in node:
        match xml.name(child):
            case "t":
                yield child.text or ""
            case "br":
                yield "\n"
            case "oMath":
                yield linear(child)
            case "r" | "fld" | "m" | "oMathPara":
                yield from _pieces(child)
            case "AlternateContent":
                yield from _pieces(child[0]) if len(child) else ()
            case "Choice":
                yield from _pieces(child)


def _continues(cell: Element) -> bool:
    return any(cell.get(name) in ("1", "true") for name in ("hMerge", "vMerge"))


def _chart(root: Element, page: int | None) -> Iterator[Section]:
    """Yield a chart's titles, then its data as a table: a row for each category, a column for each series."""
    titles = [" ".join(paragraphs(title)) for title in xml.named(root, "title")]
    yield from (Section(title, page=page) for title in titles if title)
    series = list(xml.named(root, "ser"))
    if not series:
        return
    names = [" ".join(_values(one, "tx").values()) for one in series]
    columns = [_values(series[0], "cat", "xVal"), *(_values(one, "val", "yVal") for one in series)]
    points = sorted({index for column in columns for index in column})
    rows = ([column.get(index, "") for column in columns] for index in points)
    yield from tables.sections([["", *names], *rows], page)


def _values(series: Element, *names: str) -> dict[int, str]:
    """Return the cached values under the child of one of these names, by their place."""
    holder = next((child for child in series if xml.name(child) in names), None)
    values: dict[int, str] = {}
    for value in xml.named(holder, "v"):
        point = value.getparent()
        index = xml.integer(point.get("idx")) if point is not None else None
        values.setdefault(len(values) if index is None else index, value.text or "")
    return values
