"""What extractors yield and what the chunker makes of it.

An extractor yields `Heading` and `Section` in reading order and keeps no outline of its own; `with_heading_paths` does
that for every format. The extracted text of a document is its sections joined by `SECTION_SEPARATOR`, and every
character position of a chunk counts in that text.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

SECTION_SEPARATOR: Final = "\n\n"
MAX_TITLE_CHARACTERS: Final = 300
# A longer "heading" is a paragraph in heading's clothes, and each of its chunks would carry it along.
MAX_HEADING_CHARACTERS: Final = 200
MAX_HEADING_LEVEL: Final = 8

SectionKind = Literal["text", "code", "table", "list", "heading"]

_LINE_ENDS: Final = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
# Control characters, soft hyphens, byte order marks and lone surrogates: PostgreSQL refuses NUL, UTF-8 refuses
# surrogates, and search finds no word that has the others inside.
_DROPPED: Final = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\xad\ufeff\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Heading:
    """The start of a part of the document; `level` 1 is the outermost."""

    level: int
    text: str
    page: int | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """A block of text that belongs together: a paragraph, a list, a table (one row a line), a piece of code.

    Extractors yield no `heading` themselves: `with_heading_paths` makes those of their headings.
    """

    text: str
    kind: SectionKind = "text"
    heading_path: tuple[str, ...] = ()
    page: int | None = None


Block = Heading | Section


# Content, declared media type, file name.
InnerReader = Callable[[bytes, str | None, str | None], "Extracted"]


@dataclass(frozen=True, slots=True)
class Source:
    """What an extractor gets: the bytes, what they are, and for textual formats the codec that reads them.

    `read_inner` reads a document inside this one, an attachment, by the extractor of its own type; it raises
    ExtractionError where that cannot be read.
    """

    content: bytes
    media_type: str
    encoding: str | None = None
    filename: str | None = None
    read_inner: InnerReader | None = None

    def text(self) -> str:
        """Return the content as clean text; undecodable bytes become U+FFFD."""
        return clean(self.content.decode(self.encoding or "utf-8", "replace"))


@dataclass(frozen=True, slots=True)
class Extracted:
    """What an extractor returns: the title when the format knows one, and the blocks, lazily."""

    title: str | None
    blocks: Iterable[Block]


@dataclass(frozen=True, slots=True)
class Document:
    """An opened document; iterating `sections` reads it and raises ExtractionError when there is nothing in it."""

    media_type: str
    title: str | None
    sections: Iterator[Section]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A verbatim slice of the extracted text; `prefix` + `text` is what the embedding model reads."""

    ordinal: int
    text: str
    heading_path: tuple[str, ...]
    page: int | None
    char_start: int
    char_end: int
    prefix: str = ""


def clean(text: str) -> str:
    """Return the text with `\\n` as its only line end and without characters that no store or search can take."""
    return _DROPPED.sub("", _LINE_ENDS.sub("\n", text))


def one_line(text: str, limit: int) -> str:
    """Return the text on one line of at most `limit` characters."""
    line = " ".join(clean(text[: limit * 16]).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def nested(blocks: Iterable[Block], levels: int) -> Iterator[Block]:
    """Yield blocks of a part of a document, their headings `levels` further in."""
    for block in blocks:
        yield Heading(block.level + levels, block.text, block.page) if isinstance(block, Heading) else block


def with_heading_paths(blocks: Iterable[Block]) -> Iterator[Section]:
    """Give every section the headings above it; headings are sections too, in front of what they stand over."""
    headings: list[Heading] = []
    path: tuple[str, ...] = ()
    waiting: list[Heading] = []
    for block in blocks:
        if isinstance(block, Section) or len(block.text) > MAX_HEADING_CHARACTERS:
            yield from _heading_section(waiting, path, block.page)
            yield Section(block.text, block.kind if isinstance(block, Section) else "text", path, block.page)
            waiting = []
            continue
        if waiting and block.level <= waiting[-1].level:
            yield from _heading_section(waiting, path, waiting[-1].page)
            waiting = []
        headings = [heading for heading in headings if heading.level < block.level] + [block]
        path = tuple(heading.text for heading in headings)
        waiting.append(block)
    yield from _heading_section(waiting, path, waiting[-1].page if waiting else None)


def _heading_section(waiting: list[Heading], path: tuple[str, ...], page: int | None) -> Iterator[Section]:
    if waiting:
        yield Section("\n".join(heading.text for heading in waiting), "heading", path, page)
