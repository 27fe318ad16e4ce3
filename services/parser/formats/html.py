"""HTML: headings, paragraphs, lists, tables and code of the visible page.

Parsing follows the HTML standard, so broken markup never fails. One of its rules makes nesting expensive (every `<div>`
looks through the open elements for a `<p>`), so blocks nest no deeper here than in a browser.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from selectolax.lexbor import LexborDocumentOptions, LexborHTMLParser, LexborNode, SelectolaxError

from services.parser.document import Block, Extracted, Heading, Section, SectionKind, Source
from services.parser.formats.tables import Table

_SKIPPED: Final = frozenset(
    {
        *("audio", "button", "canvas", "datalist", "embed", "head", "iframe", "map", "nav", "noscript", "object"),
        *("script", "select", "style", "svg", "template", "video", "-comment", "-doctype"),
    }
)
_BLOCKS: Final = frozenset(
    {
        *("address", "article", "aside", "blockquote", "body", "caption", "center", "details", "dialog", "dd", "div"),
        *("dt", "fieldset", "figcaption", "figure", "footer", "form", "header", "hr", "legend", "li", "main", "p"),
        *("search", "section", "summary"),
    }
)
_HEADINGS: Final = {f"h{level}": level for level in range(1, 7)}
_LISTS: Final = frozenset({"ul", "ol", "dl", "menu"})
_CELLS: Final = frozenset({"td", "th"})
# Chromium's limit, too. What ends by itself where its like begins does not nest.
_MAX_DEPTH: Final = 512
_NESTING: Final = (_BLOCKS | _LISTS | _HEADINGS.keys() | {"dir", "hgroup", "listing", "nav", "pre"}) - {
    "body",
    "dd",
    "dt",
    "hr",
    "li",
    "p",
}
_NESTING_TAG: Final = re.compile(rf"<(/?)(?:{'|'.join(sorted(_NESTING))})(?:[\s/][^<>]*)?>", re.I)
_HIDING_STYLE: Final = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.I)
_SPACES: Final = re.compile(r"\s+")
_BLANKS: Final = re.compile(" {2,}")
_SPACED_BREAK: Final = re.compile(r" *\n *")
_MAX_INDENTED_LEVELS: Final = 16
_XML_DECLARATION: Final = re.compile(r"\s*<\?xml\s")
_SELF_CLOSED: Final = re.compile(r"<([A-Za-z][\w:-]*)(\s[^<>]*)?/>")
_VOID: Final = frozenset(
    {
        *("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track"),
        "wbr",
    }
)
_TEXT: Final = "-text"
_LEAVE: Final = "/"


def extract(source: Source) -> Extracted:
    """Read an HTML page; its title is `<title>`, else the first `<h1>`."""
    text = source.text()
    tree = _parse(from_xhtml(text) if _XML_DECLARATION.match(text) else text)
    named = tree.css_first("head > title") or tree.css_first("h1")
    return Extracted(named.text() if named else None, _tree_blocks(tree))


def blocks(markup: str) -> Iterator[Block]:
    """Yield the blocks of a piece of HTML, as other formats embed it."""
    return _tree_blocks(_parse(markup))


def from_xhtml(markup: str) -> str:
    """Return XHTML with its `<title/>` as `<title></title>`: to HTML the first is a start, and swallows the page."""
    return _SELF_CLOSED.sub(_closed, markup)


def _closed(match: re.Match[str]) -> str:
    tag, attributes = match.group(1), match.group(2) or ""
    return match.group() if tag.lower() in _VOID else f"<{tag}{attributes}></{tag}>"


def _parse(markup: str) -> LexborHTMLParser:
    try:
        return LexborHTMLParser(_shallow(markup), options=LexborDocumentOptions.WO_EVENTS)
    except SelectolaxError as error:
        # There is no HTML that cannot be parsed, only memory that runs out.
        raise MemoryError from error


def _shallow(markup: str) -> str:
    """Make paragraphs of the blocks that nest too deep; their text stays."""
    if markup.count("<") <= _MAX_DEPTH:
        return markup
    depth = 0

    def kept(tag: re.Match[str]) -> str:
        nonlocal depth
        outer = depth
        depth = max(0, depth - 1 if tag[1] else depth + 1)
        if max(depth, outer) <= _MAX_DEPTH:
            return tag[0]
        return "" if tag[1] else "<p>"

    return _NESTING_TAG.sub(kept, markup)


def _tree_blocks(tree: LexborHTMLParser) -> Iterator[Block]:
    root = tree.body or tree.root
    collector = _Collector()
    for tag, text in _events(root) if root else ():
        yield from collector.take(tag, text)
    yield from collector.close()


def _events(root: LexborNode) -> Iterator[tuple[str, str]]:
    """Walk the visible tree: (tag, ""), ("-text", text), ("/tag", ""). Without recursion: pages nest without end."""
    node, depth = root, 0
    while True:
        tag = node.tag or ""
        child = None
        if tag == _TEXT:
            yield _TEXT, node.text_content or ""
        elif _visible(node, tag):
            yield tag, ""
            child = node.first_child
            if child is None:
                yield _LEAVE + tag, ""
        if child is not None:
            node, depth = child, depth + 1
            continue
        while node.next is None or depth == 0:
            if depth == 0 or node.parent is None:
                return
            node, depth = node.parent, depth - 1
            yield _LEAVE + (node.tag or ""), ""
        node = node.next


def _visible(node: LexborNode, tag: str) -> bool:
    # Old mail is full of `<?xml:namespace ... />`, an instruction that is no element and has no attributes.
    if tag in _SKIPPED or not node.is_element_node:
        return False
    get = node.attrs.get
    hidden = "hidden" in node.attrs or get("aria-hidden") == "true" or get("role") == "navigation"
    return not hidden and not _HIDING_STYLE.search(get("style") or "")


@dataclass(slots=True)
class _Container:
    """An open list or table; `cells` are those of the open row, `rows` what became of the rows before."""

    kind: SectionKind
    ordered: bool = False
    items: int = 0
    cells: list[str] = field(default_factory=list)
    rows: Table = field(default_factory=Table)


@dataclass(slots=True)
class _Collector:
    """Turns the walk into blocks: inline text gathers to lines, lines of a list to one section, rows to tables."""

    inline: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    containers: list[_Container] = field(default_factory=list)
    marker: str = ""
    verbatim: bool = False

    def take(self, tag: str, text: str) -> Iterator[Block]:
        name = tag.lstrip(_LEAVE)
        if tag == _TEXT:
            self.inline.append(text if self.verbatim else _SPACES.sub(" ", text))
        elif tag == "br" or (self.verbatim and name in _BLOCKS):
            self.inline.append("\n")
        elif name in _HEADINGS or name == "pre":
            yield from self._standalone(name, entering=tag == name)
        elif name == "table" or name in _LISTS:
            yield from self._container(name, entering=tag == name)
        elif name == "tr" or name in _CELLS:
            yield from self._row(name, entering=tag == name)
        elif name in _BLOCKS:
            yield from self._end_line()
            self._start_item(tag)

    def close(self) -> Iterator[Block]:
        yield from self._end_line()
        yield from self._end_section()

    def _standalone(self, name: str, *, entering: bool) -> Iterator[Block]:
        """Headings and code interrupt lists and tables, which go on behind them."""
        if entering:
            yield from self._interrupt()
        elif name == "pre":
            yield Section("".join(self.inline), "code")
            self.inline.clear()
        else:
            yield Heading(_HEADINGS[name], self._line())
        self.verbatim = entering and name == "pre"

    def _container(self, name: str, *, entering: bool) -> Iterator[Block]:
        yield from self._end_line()
        top = self.containers[-1] if self.containers else None
        if not entering:
            yield from self._leave_container()
        elif top and name != "table" and (top.cells or top.kind == "list"):
            # A list in a cell is part of the cell, a list in a list part of the list.
            inner = top if top.cells else _Container("list", ordered=name == "ol")
            self.containers.append(inner)
        else:
            yield from self._interrupt()
            self.containers.append(_Container("table" if name == "table" else "list", ordered=name == "ol"))

    def _leave_container(self) -> Iterator[Block]:
        left = self.containers[-1]
        above = self.containers[-2] if len(self.containers) > 1 else None
        if above is not left and not (above and above.kind == left.kind == "list"):
            yield from self._end_row(left)
            yield from self._end_section()
        self.containers.pop()

    def _row(self, name: str, *, entering: bool) -> Iterator[Block]:
        yield from self._end_line()
        table = self.containers[-1] if self.containers else _Container("table")
        if name == "tr":
            yield from self._end_row(table)
        elif entering:
            table.cells.append("")

    def _interrupt(self) -> Iterator[Block]:
        yield from self._end_line()
        if self.containers and self.containers[-1].cells:
            yield from self._end_row(self.containers[-1])
            self.containers[-1].cells.append("")
        yield from self._end_section()

    def _line(self) -> str:
        line = _SPACED_BREAK.sub("\n", _BLANKS.sub(" ", "".join(self.inline))).strip()
        self.inline.clear()
        return line

    def _start_item(self, tag: str) -> None:
        if tag == "li" and self.containers:
            self.containers[-1].items += 1
            self.marker = f"{self.containers[-1].items}. " if self.containers[-1].ordered else "- "
        elif tag in ("dt", "dd"):
            self.marker = "  " if tag == "dd" else ""

    def _end_line(self) -> Iterator[Block]:
        line = self._line()
        top = self.containers[-1] if self.containers else None
        if line and top and top.cells:
            top.cells[-1] += ("\n" if top.cells[-1] else "") + line
        elif line and top and top.kind == "list":
            depth = sum(container.kind == "list" for container in self.containers) - 1
            indent = "  " * min(depth, _MAX_INDENTED_LEVELS)
            margin = indent + " " * len(self.marker)
            self.lines.append(indent + self.marker + line.replace("\n", "\n" + margin))
            self.marker = " " * len(self.marker)
        elif line:
            yield from self._end_section()
            yield Section(line)

    def _end_row(self, table: _Container) -> Iterator[Block]:
        yield from table.rows.row(table.cells)
        table.cells.clear()

    def _end_section(self) -> Iterator[Block]:
        top = self.containers[-1] if self.containers else None
        if top and top.kind == "table":
            yield from top.rows.end()
        if self.lines:
            yield Section("\n".join(self.lines), "list")
            self.lines.clear()
