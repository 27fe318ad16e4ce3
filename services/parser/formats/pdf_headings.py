"""Where the headings of a PDF stand: its outline says so, else the size of its letters does."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, takewhile
from typing import Final

from pypdfium2 import PdfBookmark, PdfDocument

from services.parser.document import MAX_HEADING_LEVEL, Block, Heading, Section
from services.parser.formats.pdf_paragraphs import Paragraph

_MAX_OUTLINE_ENTRIES: Final = 10_000
# A single entry names the document, not its parts.
_LEAST_OUTLINE_ENTRIES: Final = 2
_NO_LETTERS: Final = re.compile(r"[\W_]+|(?<![^\W\d_])\d+")
# Font sizes in those of the running text, and the level that such letters mean.
_HEADING_SIZES: Final = ((1.8, 1), (1.4, 2), (1.15, 3))
_MAX_HEADING_LINES: Final = 3
_MAX_HEADING_CHARACTERS: Final = 150
# Where more of a page's letters look like headings than this, it is a poster.
_MAX_HEADING_SHARE: Final = 0.5

Path = tuple[str, ...]
# The entries of an outline, outermost title first, by the index of their page.
Outline = Mapping[int, Sequence[Path]]


def outline_of(document: PdfDocument) -> Outline:
    """Return the outline; it is empty when the document has none worth the name."""
    entries: defaultdict[int, list[Path]] = defaultdict(list)
    path: Path = ()
    for bookmark in islice(document.get_toc(max_depth=MAX_HEADING_LEVEL), _MAX_OUTLINE_ENTRIES):
        path = (*path[: bookmark.level], _title(bookmark))
        page = _page(bookmark)
        if page is not None and path[-1]:
            entries[page].append(path)
    return entries if sum(map(len, entries.values())) >= _LEAST_OUTLINE_ENTRIES else {}


def _page(bookmark: PdfBookmark) -> int | None:
    target = bookmark.get_dest()
    index: int | None = target.get_index() if target else None
    return index


def _title(bookmark: PdfBookmark) -> str:
    try:
        return " ".join(bookmark.get_title().split())
    except UnicodeDecodeError:
        return ""


@dataclass(slots=True)
class Headings:
    """Tells headings from paragraphs, page by page; what it learns on one page serves the next."""

    outline: Outline
    _path: Path = ()
    _characters_of_size: Counter[float] = field(default_factory=Counter)
    # What stands in large letters on every page is its header, not the start of a part.
    _page_titles: set[str] = field(default_factory=set)

    def blocks(self, index: int, paragraphs: Sequence[Paragraph]) -> Iterator[Block]:
        """Yield the page's paragraphs as sections and headings; `index` counts from 0, `page` from 1."""
        page = index + 1
        named = self._named(index, paragraphs) if self.outline else {}
        levels = {} if self.outline else self._levels(paragraphs)
        for number, paragraph in enumerate(paragraphs):
            if number in named:
                yield from self._enter(named[number], page)
            elif number in levels:
                yield Heading(levels[number], paragraph.text, page)
            else:
                yield Section(paragraph.text, paragraph.kind, (), page)

    def _named(self, index: int, paragraphs: Sequence[Paragraph]) -> Mapping[int, Path]:
        """Find the entries on their page: one that the page does not show says nothing of where it begins."""
        found: dict[int, Path] = {}
        titles = [_letters(paragraph.text) for paragraph in paragraphs]
        start = 0
        for path in self.outline.get(index, ()):
            title = _letters(path[-1])
            number = next((number for number in range(start, len(titles)) if title and titles[number] == title), None)
            if number is not None:
                found[number] = path
                start = number + 1
        return found

    def _enter(self, path: Path, page: int) -> Iterator[Heading]:
        """Yield the heading, and those above it that the text has not shown."""
        pairs = zip(self._path, path[:-1], strict=False)
        known = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        yield from (Heading(level + 1, path[level], page) for level in range(known, len(path)))
        self._path = path

    def _levels(self, paragraphs: Sequence[Paragraph]) -> Mapping[int, int]:
        for paragraph in paragraphs:
            self._characters_of_size[round(paragraph.size, 1)] += len(paragraph.text)
        usual = max(self._characters_of_size, key=self._characters_of_size.__getitem__, default=0.0)
        # What runs up the margin is large, but no heading.
        turns = Counter(paragraph.turn for paragraph in paragraphs).most_common(1)
        levels = {
            number: level
            for number, paragraph in enumerate(paragraphs)
            if paragraph.turn == turns[0][0] and (level := _level(paragraph, usual))
        }
        repeated, self._page_titles = self._page_titles, {_letters(paragraphs[number].text) for number in levels}
        large = sum(len(paragraphs[number].text) for number in levels)
        if large > sum(len(paragraph.text) for paragraph in paragraphs) * _MAX_HEADING_SHARE:
            return {}
        return {number: level for number, level in levels.items() if _letters(paragraphs[number].text) not in repeated}


def _letters(text: str) -> str:
    """Return what outline and page have in common: they differ in numbers, dots and line breaks."""
    return _NO_LETTERS.sub("", text[: 2 * _MAX_HEADING_CHARACTERS]).casefold()


def _level(paragraph: Paragraph, usual: float) -> int | None:
    text = paragraph.text
    too_long = len(paragraph.lines) > _MAX_HEADING_LINES or len(text) > _MAX_HEADING_CHARACTERS
    if too_long or paragraph.kind == "table" or not _letters(text) or text.endswith((".", ",", ";")):
        return None
    return next((level for share, level in _HEADING_SIZES if paragraph.size >= share * usual), None)
