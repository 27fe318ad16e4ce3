"""What the styles and the numbering of a Word document make of its paragraphs: headings, list items, their labels."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from services.parser.formats import xml
from services.parser.formats.titles import TITLE_LEVEL
from services.parser.formats.xml import Element

# Built-in styles keep their English names in every language; their ids are translated.
_HEADING: Final = re.compile(r"heading\s*([1-9])", re.I)
_BODY_LEVEL: Final = 9
_LONGEST_CHAIN: Final = 20
_MAX_LIST_LEVEL: Final = 8
_BULLET: Final = "-"
_ROMAN: Final = ((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"))
_SMALL_ROMAN: Final = ((10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i"))


@dataclass(frozen=True, slots=True)
class _Style:
    name: str
    based_on: str | None
    properties: Element | None


class Styles:
    """The paragraph styles of a document, each with what it inherits."""

    def __init__(self, root: Element | None) -> None:
        self._styles = {
            xml.attribute(style, "styleId") or "": _Style(
                _value(style, "name") or "", _value(style, "basedOn"), xml.find(style, "pPr")
            )
            for style in xml.named(root, "style")
        }

    def heading_level(self, properties: Element | None) -> int | None:
        """Return the level of a paragraph with these properties, None when it is no heading."""
        style_id = _value(properties, "pStyle")
        outline = xml.integer(_value(properties, "outlineLvl"))
        if outline is not None:
            return outline + TITLE_LEVEL + 1 if outline < _BODY_LEVEL else None
        levels = (self._own_level(style) for style in self._chain(style_id))
        return next((level for level in levels if level is not None), None)

    def numbering(self, properties: Element | None) -> tuple[str, int] | None:
        """Return the list (its id) and the level in it of a paragraph with these properties."""
        styles = self._chain(_value(properties, "pStyle"))
        holders = [properties, *(style.properties for style in styles)]
        numbers = [xml.find(holder, "numPr") for holder in holders]
        list_id = next((value for number in numbers if (value := _value(number, "numId"))), None)
        level = next((one for number in numbers if (one := xml.integer(_value(number, "ilvl"))) is not None), 0)
        return (list_id, min(level, _MAX_LIST_LEVEL)) if list_id and list_id != "0" else None

    def _chain(self, style_id: str | None) -> Iterator[_Style]:
        for _ in range(_LONGEST_CHAIN):
            # Where the styles are missing, the id still tells a heading.
            style = self._styles.get(style_id or "") or (_Style(style_id, None, None) if style_id else None)
            if style is None:
                return
            yield style
            style_id = style.based_on

    def _own_level(self, style: _Style) -> int | None:
        if style.name.lower() == "title":
            return TITLE_LEVEL
        named = _HEADING.fullmatch(style.name)
        outline = xml.integer(_value(style.properties, "outlineLvl"))
        if named or outline is None or outline >= _BODY_LEVEL:
            return int(named.group(1)) + TITLE_LEVEL if named else None
        return outline + TITLE_LEVEL + 1


@dataclass(frozen=True, slots=True)
class _Level:
    kind: str
    label: str
    start: int


@dataclass(slots=True)
class Numbering:
    """The lists of a document and how far each has counted."""

    lists: dict[str, dict[int, _Level]]
    counters: dict[str, dict[int, int]] = field(default_factory=dict)

    @classmethod
    def from_part(cls, root: Element | None) -> "Numbering":
        """Read the numbering part of a document."""
        abstract = {xml.attribute(one, "abstractNumId"): dict(_levels(one)) for one in xml.named(root, "abstractNum")}
        return cls(
            {
                xml.attribute(one, "numId") or "": abstract.get(_value(one, "abstractNumId"), {})
                for one in xml.named(root, "num")
                if xml.attribute(one, "numId")
            }
        )

    def label(self, list_id: str, level: int) -> str:
        """Count one item and return what stands before it: `3.`, `b)`, `1.2`, or `-` for a bullet."""
        levels = self.lists.get(list_id, {})
        counters = self.counters.setdefault(list_id, {})
        own = levels.get(level, _Level("bullet", "", 1))
        counters[level] = counters.get(level, own.start - 1) + 1
        for deeper in [one for one in counters if one > level]:
            del counters[deeper]
        if own.kind in ("bullet", "none") or "%" not in own.label:
            return _BULLET
        return re.sub(r"%([1-9])", lambda place: self._count(list_id, int(place.group(1)) - 1), own.label).strip()

    def _count(self, list_id: str, level: int) -> str:
        own = self.lists[list_id].get(level, _Level("decimal", "", 1))
        return _written(self.counters[list_id].get(level, own.start), own.kind)


def _levels(abstract: Element) -> Iterator[tuple[int, _Level]]:
    for level in xml.named(abstract, "lvl"):
        start = xml.integer(_value(level, "start"))
        kind, label = _value(level, "numFmt") or "decimal", _value(level, "lvlText") or ""
        yield xml.integer(xml.attribute(level, "ilvl")) or 0, _Level(kind, label, 1 if start is None else start)


def _written(number: int, kind: str) -> str:
    match kind:
        case "lowerLetter" | "upperLetter" if 0 < number <= 26:
            letter = chr(ord("a") + number - 1)
            return letter if kind == "lowerLetter" else letter.upper()
        case "lowerRoman" | "upperRoman" if 0 < number < 4000:
            return _roman(number) if kind == "lowerRoman" else _roman(number).upper()
    return str(number)


def _roman(number: int) -> str:
    written = ""
    for value, letters in (*_ROMAN, *_SMALL_ROMAN):
        written += letters * (number // value)
        number %= value
    return written


def _value(element: Element | None, name: str) -> str | None:
    return xml.attribute(xml.find(element, name), "val")
