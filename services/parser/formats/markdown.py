"""Markdown: the source's own lines, cut into blocks.

A line scanner, not a syntax tree: the text stays as written, memory stays flat, and 20 MB take seconds. Each rule looks
at one position and answers the line behind the block and what it holds, or None when the block is not of its kind.
"""

import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from services.parser.document import Block, Extracted, Heading, Section, Source
from services.parser.formats import html

_FENCE: Final = re.compile(r"\s*(`{3,}(?=[^`]*$)|~{3,})")
_ATX: Final = re.compile(r" {0,3}(#{1,6})(?:[ \t]|$)")
_SETEXT: Final = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_BREAK: Final = re.compile(r" {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}$")
_ITEM: Final = re.compile(r"\s*(?:[-*+]|\d{1,9}[.)])(?:[ \t]|$)")
_INDENTED: Final = re.compile(r"(?: {4}| {0,3}\t)")
_TABLE_RULE: Final = re.compile(r"\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?$")
_FRONT_MATTER_END: Final = {"---": ("---", "..."), "+++": ("+++",)}
_FRONT_MATTER_LINES: Final = 200
_FRONT_MATTER_TITLE: Final = re.compile(r"title\s*[:=]\s*(.+)", re.I)
# Blocks that begin with one of these tags are HTML; other angle brackets (`List<T>`, autolinks) are text.
_HTML_TAG: Final = re.compile(
    r" {0,3}(?:<!--|</?(?:address|article|aside|a|big|blockquote|br|b|center|code|dd|details|div|dl|dt|em|figure"
    r"|footer|font|form|h[1-6]|header|hr|iframe|img|i|kbd|li|main|nav|ol|picture|pre|p|script|section|small|source|span|strong"
    r"|style|sub|summary|sup|svg|table|tbody|td|th|thead|tr|ul|u|video)(?=[\s/>]|$))",
    re.I,
)
_RAW_ENDS: Final = {"!--": "-->", "script": "</script>", "style": "</style>", "pre": "</pre>", "svg": "</svg>"}
_RAW_START: Final = re.compile(r" {0,3}<(!--|(?:script|style|pre|svg)(?=[\s>]))", re.I)
# Badges and the like may stand in front of the first heading.
_BLOCKS_BEFORE_TITLE: Final = 20
_DATA_URI: Final = re.compile(r"data:[\w.+-]+/[\w.+-]+;base64,[A-Za-z0-9+/=]+")

Taken = tuple[int, list[Block]]
Rule = Callable[[list[str], int], Taken | None]


def extract(source: Source) -> Extracted:
    """Read Markdown; its title is the front matter's, else the first heading when that is of level 1."""
    lines = source.text().split("\n")
    title, start = _front_matter(lines)
    beginning = islice(blocks(lines, start), _BLOCKS_BEFORE_TITLE)
    first = next((block for block in beginning if isinstance(block, Heading)), None)
    if title is None and first and first.level == 1:
        title = first.text
    return Extracted(title, blocks(lines, start))


def blocks(lines: list[str], position: int = 0) -> Iterator[Block]:
    """Yield headings and sections from line `position` on."""
    while position < len(lines):
        if not lines[position].strip():
            position += 1
            continue
        position, found = next(taken for rule in _RULES if (taken := rule(lines, position)))
        yield from found


def _front_matter(lines: list[str]) -> tuple[str | None, int]:
    ends = _FRONT_MATTER_END.get(lines[0].rstrip(), ())
    end = next((number for number, line in enumerate(lines[1:_FRONT_MATTER_LINES], 1) if line.rstrip() in ends), None)
    if end is None or not any(re.match(r"[\w-]+\s*[:=]", line) for line in lines[1:end]):
        return None, 0
    titles = (match.group(1) for line in lines[1:end] if (match := _FRONT_MATTER_TITLE.match(line)))
    return next((title.strip().strip("\"'") for title in titles), None), end + 1


def _section(lines: list[str], start: int, end: int) -> Section:
    text = _DATA_URI.sub("", "\n".join(lines[start:end]))
    first = lines[start]
    if _FENCE.match(first) or all(_INDENTED.match(line) for line in lines[start:end] if line.strip()):
        return Section(text, "code")
    if _ITEM.match(first):
        return Section(text, "list")
    table = end - start > 1 and "|" in first and _TABLE_RULE.match(lines[start + 1].strip())
    return Section(text, "table" if table else "text")


def _fence(lines: list[str], start: int) -> Taken | None:
    if not _FENCE.match(lines[start]) or _INDENTED.match(lines[start]):
        return None
    end = _fence_end(lines, start)
    return end, [_section(lines, start, end)]


def _fence_end(lines: list[str], start: int) -> int:
    """Return the line behind the fence; one that is never closed runs to the end of the document."""
    opening = _FENCE.match(lines[start])
    mark = opening.group(1) if opening else ""
    closing = re.compile(rf"\s*{re.escape(mark[:1])}{{{len(mark)},}}\s*$")
    ends = (number for number in range(start + 1, len(lines)) if closing.match(lines[number]))
    return next(ends, len(lines) - 1) + 1


def _atx_heading(lines: list[str], start: int) -> Taken | None:
    match = _ATX.match(lines[start])
    if not match:
        return None
    text = lines[start][match.end() :].strip()
    unclosed = text.rstrip("#")
    closed = unclosed == "" or unclosed[-1] in " \t"
    return start + 1, [Heading(len(match.group(1)), unclosed.rstrip() if closed else text)]


def _html(lines: list[str], start: int) -> Taken | None:
    if not _HTML_TAG.match(lines[start]):
        return None
    end = _raw_end(lines, start) or _paragraph_end(lines, start, _starts_part)
    return end, list(html.blocks("\n".join(lines[start:end])))


def _raw_end(lines: list[str], start: int) -> int | None:
    """Return the line behind comments, `</script>` and their like, whose content may hold blank lines."""
    raw = _RAW_START.match(lines[start])
    if not raw:
        return None
    closing = _RAW_ENDS[raw.group(1).lower()]
    return next((number + 1 for number in range(start, len(lines)) if closing in lines[number].lower()), len(lines))


def _list(lines: list[str], start: int) -> Taken | None:
    if not _ITEM.match(lines[start]) or _INDENTED.match(lines[start]):
        return None
    end = position = start + 1
    while position < len(lines) and _continues_list(lines[position], after_blank=position > end):
        blank = not lines[position].strip()
        nested_code = _FENCE.match(lines[position])
        position = _fence_end(lines, position) if nested_code else position + 1
        end = end if blank else position
    return end, [_section(lines, start, end)]


def _continues_list(line: str, *, after_blank: bool) -> bool:
    """Items, what is indented under them and the lazy lines of their paragraphs belong to a list."""
    if not line.strip() or line.startswith(("  ", "\t")):
        return True
    item = _ITEM.match(line) and not _BREAK.match(line)
    return bool(item) or not (after_blank or _starts_block(line) or _SETEXT.match(line))


def _indented_code(lines: list[str], start: int) -> Taken | None:
    if not _INDENTED.match(lines[start]):
        return None
    end = position = start + 1
    while position < len(lines) and (not lines[position].strip() or _INDENTED.match(lines[position])):
        position += 1
        end = position if lines[position - 1].strip() else end
    return end, [_section(lines, start, end)]


def _thematic_break(lines: list[str], start: int) -> Taken | None:
    return (start + 1, []) if _BREAK.match(lines[start]) else None


def _paragraph(lines: list[str], start: int) -> Taken:
    end = _paragraph_end(lines, start, _starts_block)
    for number in range(start + 1, end):
        underline = _SETEXT.match(lines[number])
        if underline and not lines[start].lstrip().startswith((">", "|")):
            level = 1 if underline.group(1)[0] == "=" else 2
            return number + 1, [Heading(level, "\n".join(lines[start:number]))]
    return end, [_section(lines, start, end)]


def _paragraph_end(lines: list[str], start: int, interrupts: Callable[[str], bool]) -> int:
    end = start + 1
    while end < len(lines) and lines[end].strip() and not interrupts(lines[end]):
        end += 1
    return end


def _starts_part(line: str) -> bool:
    return bool(_FENCE.match(line) or _ATX.match(line))


def _starts_block(line: str) -> bool:
    item = _ITEM.match(line) and line.strip() not in ("-", "+", "*")
    return not _SETEXT.match(line) and bool(_starts_part(line) or item or _BREAK.match(line))


_RULES: Final[tuple[Rule, ...]] = (
    _fence,
    _atx_heading,
    _html,
    _thematic_break,
    _list,
    _indented_code,
    _paragraph,
)
