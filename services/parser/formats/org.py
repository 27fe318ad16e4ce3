"""Org: the source's own lines, cut into blocks."""

import re
from collections.abc import Callable, Iterator
from typing import Final

from services.parser.document import Block, Extracted, Heading, Section, Source

_HEADLINE: Final = re.compile(r"(\*+)[ \t]+(.*)")
_KEYWORD_OF_TASK: Final = re.compile(r"(?:TODO|DONE|NEXT|WAITING|CANCELLED)\s+|\[#[A-Za-z0-9]\]\s+|COMMENT\s+")
_TAGS: Final = re.compile(r"(?<=\s):[\w@#%:]+:$")
_TITLE: Final = re.compile(r"#\+title:\s*(.+)", re.I)
_BEGIN: Final = re.compile(r"\s*#\+begin_(\w+)", re.I)
_KEYWORD: Final = re.compile(r"\s*#(?:\+(?:end_\w+|\w[\w-]*(?:\[[^\]]*\])?:)|\s|$)", re.I)
_CAPTION: Final = re.compile(r"\s*#\+(?:caption(?:\[[^\]]*\])?|description):\s*(.+)", re.I)
_DRAWER: Final = re.compile(r"\s*:[\w-]+:\s*$")
_DRAWER_END: Final = re.compile(r"\s*:end:\s*$", re.I)
_PLANNING: Final = re.compile(r"\s*(?:SCHEDULED|DEADLINE|CLOSED|CLOCK):")
_TABLE: Final = re.compile(r"\s*\|")
_TABLE_RULE: Final = re.compile(r"\s*\|[-+|]+\s*$")
_ITEM: Final = re.compile(r"\s*(?:[-+]|\d+[.)]|[A-Za-z][.)])(?:\s|$)|\s+\*\s")
_FIXED: Final = re.compile(r"\s*: |\s*:$")
_LINK: Final = re.compile(r"\[\[([^\]\[]+)\](?:\[([^\]\[]+)\])?\]")
_VERBATIM_BLOCKS: Final = frozenset({"comment", "example", "export", "src"})
Taken = tuple[int, list[Block]]
Rule = Callable[[list[str], int], Taken | None]


def extract(source: Source) -> Extracted:
    """Read Org; its title is `#+TITLE`, else a headline of level 1 when that is the first."""
    lines = source.text().split("\n")
    titles = (match.group(1) for line in lines if (match := _TITLE.match(line)))
    headlines = (match for line in lines if (match := _HEADLINE.match(line)))
    title, first = next(titles, None), next(headlines, None)
    if title is None and first and len(first.group(1)) == 1:
        title = _headline_text(first.group(2))
    return Extracted(title, _blocks(lines))


def _blocks(lines: list[str]) -> Iterator[Block]:
    position = 0
    while position < len(lines):
        if not lines[position].strip():
            position += 1
            continue
        position, found = next(taken for rule in _RULES if (taken := rule(lines, position)))
        yield from found


def _headline(lines: list[str], start: int) -> Taken | None:
    match = _HEADLINE.match(lines[start])
    return (start + 1, [Heading(len(match.group(1)), _headline_text(match.group(2)))]) if match else None


def _headline_text(text: str) -> str:
    """Return a headline without what makes it a task: state, priority, tags."""
    text = _TAGS.sub("", text.rstrip())
    while match := _KEYWORD_OF_TASK.match(text):
        text = text[match.end() :]
    return _plain(text).strip()


def _block(lines: list[str], start: int) -> Taken | None:
    """Code, examples and comments, to the end if they are never closed; of other blocks the borders alone."""
    begin = _BEGIN.match(lines[start])
    name = begin.group(1).lower() if begin else ""
    if name not in _VERBATIM_BLOCKS:
        return (start + 1, []) if begin else None
    closing = re.compile(rf"\s*#\+end_{name}", re.I)
    end = next((number for number in range(start + 1, len(lines)) if closing.match(lines[number])), len(lines))
    found: list[Block] = [] if name == "comment" else [Section("\n".join(lines[start + 1 : end]), "code")]
    return end + 1, found


def _drawer(lines: list[str], start: int) -> Taken | None:
    """Drawers hold properties and logs, none of the text, and no other drawers."""
    if not _DRAWER.match(lines[start]):
        return None
    end = start + 1
    while end < len(lines) and not (_DRAWER.match(lines[end]) or _HEADLINE.match(lines[end])):
        end += 1
    return (end + 1, []) if end < len(lines) and _DRAWER_END.match(lines[end]) else None


def _keyword(lines: list[str], start: int) -> Taken | None:
    caption = _CAPTION.match(lines[start])
    if caption:
        return start + 1, [Section(_plain(caption.group(1)))]
    return (start + 1, []) if _KEYWORD.match(lines[start]) or _PLANNING.match(lines[start]) else None


def _table(lines: list[str], start: int) -> Taken | None:
    if not _TABLE.match(lines[start]):
        return None
    end = _run(lines, start, _TABLE)
    rows = (row.strip().strip("|").split("|") for row in lines[start:end] if not _TABLE_RULE.match(row))
    return end, [Section("\n".join(_plain(" | ".join(cell.strip() for cell in row)) for row in rows), "table")]


def _fixed_width(lines: list[str], start: int) -> Taken | None:
    if not _FIXED.match(lines[start]):
        return None
    end = _run(lines, start, _FIXED)
    return end, [Section("\n".join(line.strip()[2:] for line in lines[start:end]), "code")]


def _run(lines: list[str], start: int, pattern: re.Pattern[str]) -> int:
    end = start + 1
    while end < len(lines) and pattern.match(lines[end]):
        end += 1
    return end


def _list(lines: list[str], start: int) -> Taken | None:
    if not _ITEM.match(lines[start]):
        return None
    end = position = start + 1
    while position < len(lines) and _continues_list(lines[position], lines[position - 1]):
        position += 1
        end = position if lines[position - 1].strip() else end
    return end, [Section(_plain("\n".join(lines[start:end])), "list")]


def _continues_list(line: str, above: str) -> bool:
    """A list ends at text that is not indented, and behind two blank lines."""
    if not line.strip():
        return bool(above.strip())
    return bool(_ITEM.match(line)) or (line[0].isspace() and not _BEGIN.match(line))


def _paragraph(lines: list[str], start: int) -> Taken:
    end = start + 1
    while end < len(lines) and lines[end].strip() and not _starts_block(lines[end]):
        end += 1
    return end, [Section(_plain("\n".join(lines[start:end])))]


def _starts_block(line: str) -> bool:
    patterns = (_HEADLINE, _BEGIN, _KEYWORD, _PLANNING, _TABLE, _DRAWER, _FIXED, _ITEM)
    return any(pattern.match(line) for pattern in patterns)


def _plain(text: str) -> str:
    """Return the text with links as what they show."""
    return _LINK.sub(lambda match: match.group(2) or match.group(1), text)


_RULES: Final[tuple[Rule, ...]] = (
    _headline,
    _block,
    _drawer,
    _keyword,
    _table,
    _fixed_width,
    _list,
    _paragraph,
)
