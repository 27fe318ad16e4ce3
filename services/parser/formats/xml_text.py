"""XML of any kind: documents (DocBook, TEI, JATS), feeds, and data.

What an element holds decides how it reads: text with elements in it is a paragraph, an element of named values is a
record of `name: value` lines, one with a title is a part under that heading, and markup in a value (feeds) is HTML.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Final, NamedTuple

from services.parser.document import MAX_HEADING_LEVEL, Block, Extracted, Heading, Section, Source, nested
from services.parser.formats import html
from services.parser.formats.xml_events import XmlEvent, events

_TITLES: Final = frozenset({"article-title", "head", "heading", "title"})
_PROSE: Final = frozenset(
    {
        "abstract",
        "content",
        "description",
        "encoded",
        "l",
        "note",
        "p",
        "para",
        "quote",
        "simpara",
        "subtitle",
        "summary",
    }
)
_CODE: Final = frozenset({"code", "literallayout", "pre", "programlisting", "screen"})
# Where the title of the whole document stands, if not in its root.
_HEADERS: Final = frozenset(
    {"channel", "front", "head", "header", "info", "meta", "metadata", "title-group", "titleStmt"}
)
_HTML_VALUE: Final = re.compile(
    r"<(?:a|b|blockquote|br|div|em|h[1-6]|i|img|li|ol|p|pre|span|strong|table|ul)[\s/>]", re.I
)
_BLOCKS_BEFORE_TITLE: Final = 3
# Elements that hold this many values are read in parts: some hold a whole database.
_MAX_VALUES: Final = 200
_SMALL_RECORD_VALUES: Final = 8
_SMALL_RECORD_CHARACTERS: Final = 300
_MAX_ATTRIBUTE_CHARACTERS: Final = 200
# What is deeper is text of the elements at this depth.
_MAX_DEPTH: Final = 200


def extract(source: Source) -> Extracted:
    """Read XML; its title is that of its root or header."""
    reader = _Reader()
    found = reader.blocks(events(source.text()))
    beginning = list(islice(found, _BLOCKS_BEFORE_TITLE))
    return Extracted(reader.title, chain(beginning, found))


class _Value(NamedTuple):
    """Text in an element: its own (then without a name) or that of an element inside it."""

    name: str
    text: str
    attributes: str = ""

    @property
    def line(self) -> str:
        """The value on one line, with its name."""
        text = " ".join(self.text.split())
        attributes = f" ({self.attributes})" if self.attributes and text else ""
        return f"{self.name}{attributes}: {text or self.attributes}"


@dataclass(slots=True)
class _Element:
    """An element that is not closed yet."""

    name: str
    attributes: str
    values: list[_Value] = field(default_factory=list)
    has_text: bool = False
    has_elements: bool = False
    divided: bool = False


@dataclass(slots=True)
class _Reader:
    """Follows the elements and decides at the end of each how it reads."""

    title: str | None = None
    open: list[_Element] = field(default_factory=list)
    too_deep: int = 0

    def blocks(self, found: Iterator[XmlEvent]) -> Iterator[Block]:
        for event in found:
            if event.kind == "start":
                self._start(event)
            elif event.kind == "text":
                self._text(event.text)
            else:
                yield from self._end()
        self.too_deep = 0
        while self.open:
            yield from self._end()

    def _start(self, event: XmlEvent) -> None:
        if len(self.open) == _MAX_DEPTH:
            self.too_deep += 1
            return
        if self.open:
            self.open[-1].has_elements = True
        self.open.append(_Element(event.name, _attributes(event)))

    def _text(self, text: str) -> None:
        if self.open:
            element = self.open[-1]
            element.has_text = element.has_text or bool(text.strip())
            element.values.append(_Value("", text))

    def _end(self) -> Iterator[Block]:
        if self.too_deep:
            self.too_deep -= 1
            return
        element = self.open.pop() if self.open else _Element("", "")
        outer = self.open[-1] if self.open else None
        if element.divided or outer is None:
            yield from self._part(element, len(self.open) + 1)
        elif element.has_text or not element.has_elements:
            outer.values.append(_Value(element.name, _joined(element), element.attributes))
        elif outer.has_text or _small(element):
            line = ", ".join(value.line for value in element.values if value.name)
            outer.values.append(_Value(element.name, f" {line} " if outer.has_text else line, element.attributes))
        else:
            yield from self._divide(len(self.open))
            yield from self._part(element, len(self.open) + 1)
        if outer and len(outer.values) >= _MAX_VALUES:
            yield from self._divide(len(self.open))

    def _divide(self, depth: int) -> Iterator[Block]:
        """Let out what the open elements hold so far, so that what follows stands behind it."""
        for level, element in enumerate(self.open[:depth], 1):
            yield from self._part(element, level)
            element.values.clear()
            element.divided = True

    def _part(self, element: _Element, level: int) -> Iterator[Block]:
        values = [value for value in element.values if value.name and (value.text.strip() or value.attributes)]
        if element.has_text:
            values = [_Value("para", _joined(element))]
        heading = next((value for value in values if value.name in _TITLES and value.text.strip()), None)
        if heading:
            yield self._heading(heading, element, level)
            values.remove(heading)
        told = element.attributes and values and not heading and not element.has_text and not element.divided
        yield from _sections(values, f"{element.name} ({element.attributes})" if told else "", level)

    def _heading(self, value: _Value, element: _Element, level: int) -> Heading:
        text = " ".join(value.text.split())
        if self.title is None and (level == 1 or element.name in _HEADERS):
            self.title = text
        return Heading(min(level, MAX_HEADING_LEVEL), text)


def _sections(values: list[_Value], first_line: str, level: int) -> Iterator[Block]:
    lines = [first_line] if first_line else []
    for value in values:
        rich = _is_html(value.text)
        if not rich and value.name not in _PROSE and value.name not in _CODE:
            lines.append(value.line)
            continue
        if lines:
            yield Section("\n".join(lines))
            lines.clear()
        if rich:
            yield from nested(html.blocks(value.text), level)
        elif value.name in _CODE:
            yield Section(value.text, "code")
        else:
            yield Section(" ".join(value.text.split()))
    if lines:
        yield Section("\n".join(lines))


def _small(element: _Element) -> bool:
    """Tell records that are better one line of the element around them than parts of their own."""
    named = [value for value in element.values if value.name]
    special = any(value.name in _TITLES or value.name in _PROSE or value.name in _CODE for value in named)
    length = sum(len(value.text) for value in named)
    return not special and len(named) <= _SMALL_RECORD_VALUES and length <= _SMALL_RECORD_CHARACTERS


def _joined(element: _Element) -> str:
    text = "".join([value.text for value in element.values])
    return text if element.name in _CODE or _is_html(text) else " ".join(text.split())


def _is_html(text: str) -> bool:
    return "<" in text and bool(_HTML_VALUE.search(text))


def _attributes(event: XmlEvent) -> str:
    if not event.attributes:
        return ""
    known = event.attributes.items()
    return ", ".join(f"{name}={value}" for name, value in known if value.strip())[:_MAX_ATTRIBUTE_CHARACTERS]
