"""From sections to chunks the embedding model can read whole.

Neighbouring sections on one page and under the same headings fill a chunk together; what does not fit starts the next
one whole, so lists, tables and code are cut only when they are larger than a chunk. Only then do chunks overlap, and
not where the cut falls between rows or items.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from semantic_text_splitter import TextSplitter

from services.parser.document import SECTION_SEPARATOR, Chunk, Section

# One token can stand for any number of characters: BERT reads a word of over 100 letters as a single [UNK].
MAX_CHARACTERS_PER_TOKEN: Final = 16
_PREFIX_SEPARATOR: Final = " > "
_PREFIX_END: Final = "\n\n"
# The splitter's time grows faster than the text; 40 chunks at a time keep it flat.
_WINDOW_CHUNKS: Final = 40

TokenCount = Callable[[str], int]


@dataclass(frozen=True, slots=True)
class ChunkingLimits:
    """Sizes in tokens of the embedding model; `model_tokens` is what it reads at most, special tokens included."""

    chunk_tokens: int = 400
    overlap_tokens: int = 48
    prefix_tokens: int = 96
    model_tokens: int = 512

    def __post_init__(self) -> None:
        if not 0 <= self.overlap_tokens < self.chunk_tokens:
            raise ValueError(
                f"overlap_tokens ({self.overlap_tokens}) must be less than chunk_tokens ({self.chunk_tokens})"
            )
        needed = self.chunk_tokens + self.prefix_tokens + 2
        if self.chunk_tokens < 32 or self.prefix_tokens < 0 or needed > self.model_tokens:
            raise ValueError(
                f"chunk_tokens ({self.chunk_tokens}, at least 32) + prefix_tokens ({self.prefix_tokens})"
                f" + 2 special tokens must fit model_tokens ({self.model_tokens})"
            )


@dataclass(slots=True)
class _Pack:
    """Sections that stand next to each other and become one chunk, or one section that becomes several.

    `body` is the first section that is no heading, while there is none the first of all; `lead` counts the characters
    in front of it.
    """

    start: int
    body: Section
    size: int
    texts: list[str] = field(default_factory=list)
    lead: int = 0

    def takes(self, section: Section, size: int, limit: int) -> bool:
        """Whether a section belongs in here; a heading never stays behind alone."""
        same_place = (self.body.heading_path, self.body.page) == (section.heading_path, section.page)
        return same_place and (self.body.kind == "heading" or self.size + size <= limit)

    @property
    def headings(self) -> int:
        """How many of the path's headings the text begins with."""
        leads = self.lead or self.body.kind == "heading"
        return self.texts[0].count("\n") + 1 if leads else 0

    def add(self, section: Section, size: int) -> None:
        """Append a section."""
        if self.body.kind == "heading":
            self.body = section
            self.lead = sum(len(text) + len(SECTION_SEPARATOR) for text in self.texts)
        self.size += size
        self.texts.append(section.text)


class Chunker:
    """Turns sections into chunks; holds no more text than one section or one chunk."""

    def __init__(self, count_tokens: TokenCount, limits: ChunkingLimits) -> None:
        self._count_tokens = count_tokens
        self._limits = limits
        self._max_characters = limits.chunk_tokens * MAX_CHARACTERS_PER_TOKEN
        self._splitter = self._splitter_into(limits.chunk_tokens, limits.overlap_tokens)
        self._line_splitter = self._splitter_into(limits.chunk_tokens, 0)

    def chunks(self, title: str | None, sections: Iterable[Section]) -> Iterator[Chunk]:
        """Yield the chunks of a document in order.

        `text[chunk.char_start:chunk.char_end] == chunk.text` holds for the text that the sections joined by
        `SECTION_SEPARATOR` make. Prefix, text and special tokens together fit the model.
        """
        ordinal = 0
        for pack in self._packs(sections):
            path, page = pack.body.heading_path, pack.body.page
            # The headings that a piece begins with need not stand in front of it once more.
            above = self._prefix(title, path[: len(path) - pack.headings])
            behind = self._prefix(title, path) if pack.headings else above
            for offset, text in self._pieces(pack):
                start = pack.start + offset
                yield Chunk(ordinal, text, path, page, start, start + len(text), behind if offset else above)
                ordinal += 1

    def _prefix(self, title: str | None, path: Sequence[str]) -> str:
        return prefix_for(title, path, self._count_tokens, self._limits.prefix_tokens)

    def _packs(self, sections: Iterable[Section]) -> Iterator[_Pack]:
        start = 0
        pack: _Pack | None = None
        for section in sections:
            size = self._size(section.text)
            if pack and pack.takes(section, size, self._limits.chunk_tokens):
                pack.add(section, size)
            else:
                if pack:
                    yield pack
                pack = _Pack(start, section, size, [section.text])
            start += len(section.text) + len(SECTION_SEPARATOR)
        if pack:
            yield pack

    def _size(self, text: str) -> int:
        """Measure in tokens, or in characters where the tokens are too long to count as text."""
        least = -(-len(text) // MAX_CHARACTERS_PER_TOKEN)
        return least if least > self._limits.chunk_tokens else max(least, self._count_tokens(text))

    def _pieces(self, pack: _Pack) -> Iterator[tuple[int, str]]:
        """Cut what is larger than a chunk; the headings in front of it stay with its first piece."""
        text = SECTION_SEPARATOR.join(pack.texts)
        room = self._limits.chunk_tokens - self._size(text[: pack.lead])
        if pack.size <= self._limits.chunk_tokens or not pack.lead or room < self._limits.chunk_tokens // 2:
            yield from self._split(text, self._splitter_for(pack.body))
            return
        overlap = min(self._overlap_of(pack.body, room), room // 2)
        pieces = self._split(text[pack.lead :], self._splitter_into(room, overlap))
        offset, first = next(pieces)
        yield 0, text[: pack.lead + offset + len(first)]
        yield from ((pack.lead + offset, piece) for offset, piece in pieces)

    def _splitter_for(self, section: Section) -> TextSplitter:
        overlap = self._overlap_of(section, self._limits.chunk_tokens)
        return self._splitter if overlap else self._line_splitter

    def _splitter_into(self, chunk_tokens: int, overlap_tokens: int) -> TextSplitter:
        return TextSplitter.from_callback(self._size, chunk_tokens, overlap=overlap_tokens)

    def _overlap_of(self, section: Section, chunk_tokens: int) -> int:
        """A row or an item is a thought by itself: a cut between two of them needs no overlap."""
        lines = section.text.split("\n") if section.kind in ("table", "list") else ()
        whole = lines and all(self._size(line) <= chunk_tokens for line in lines)
        return 0 if whole else self._limits.overlap_tokens

    def _split(self, text: str, splitter: TextSplitter) -> Iterator[tuple[int, str]]:
        window = self._max_characters * _WINDOW_CHUNKS
        position = 0
        while len(text) - position > window:
            *whole, last = splitter.chunk_indices(text[position : position + window]) or [(window, "")]
            yield from ((position + offset, piece) for offset, piece in whole)
            # The end of the window cut the last chunk short: the next window begins with it.
            position += last[0] if whole else window
        yield from ((position + offset, piece) for offset, piece in splitter.chunk_indices(text[position:]))


def embedded_text(
    title: str | None, heading_path: Sequence[str], text: str, count_tokens: TokenCount, prefix_tokens: int = 96
) -> str:
    """Return what the embedding model reads for a chunk: where it stands, then what it says."""
    return prefix_for(title, heading_path, count_tokens, prefix_tokens) + text


def prefix_for(title: str | None, heading_path: Sequence[str], count_tokens: TokenCount, budget_tokens: int) -> str:
    """Return title and headings on one line within the budget: outer headings go first, then ends are cut off."""
    parts = list(dict.fromkeys(part for part in (title, *heading_path) if part))
    while len(parts) > 2 and count_tokens(_PREFIX_SEPARATOR.join(parts)) > budget_tokens:
        del parts[1]
    if parts and count_tokens(_PREFIX_SEPARATOR.join(parts)) > budget_tokens:
        share = (budget_tokens - count_tokens(_PREFIX_SEPARATOR) * (len(parts) - 1)) // len(parts)
        parts = [cut for part in parts if (cut := _within(part, count_tokens, share))]
    return _PREFIX_SEPARATOR.join(parts) + _PREFIX_END if parts else ""


def _within(text: str, count_tokens: TokenCount, budget_tokens: int) -> str:
    pieces = TextSplitter.from_callback(count_tokens, budget_tokens).chunks(text) if budget_tokens > 0 else []
    return pieces[0] if pieces else ""
