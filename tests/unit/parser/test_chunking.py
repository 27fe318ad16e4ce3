from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.parser.chunking import MAX_CHARACTERS_PER_TOKEN, Chunker, ChunkingLimits, embedded_text, prefix_for
from services.parser.document import SECTION_SEPARATOR, Chunk, Section
from services.parser.token_counting import TokenCounter
from tests.unit.parser.small_tokenizer import small_tokenizer

COUNT = TokenCounter(small_tokenizer())
SMALL = ChunkingLimits(chunk_tokens=32, overlap_tokens=8, prefix_tokens=16, model_tokens=50)
PATHS = st.sampled_from([(), ("Pumps",), ("Pumps", "Start"), ("Pumps", "Stop when the pressure falls", "By hand")])
TEXTS = st.text(st.sampled_from("abc é.!?\n\n\t漢😀"), min_size=1, max_size=400).filter(str.strip)
SECTIONS = st.lists(st.builds(Section, TEXTS, heading_path=PATHS), max_size=12)


def chunked(*sections: Section, limits: ChunkingLimits = SMALL, title: str | None = None) -> list[Chunk]:
    return list(Chunker(COUNT, limits).chunks(title, sections))


def words(count: int, word: str = "pump") -> str:
    return " ".join([word] * count)


@settings(max_examples=200)
@given(sections=SECTIONS)
def test_every_chunk_is_a_verbatim_slice_of_the_text(sections: list[Section]) -> None:
    """INVARIANT: text[char_start:char_end] == chunk.text, else quotes and highlights point elsewhere."""
    text = SECTION_SEPARATOR.join(section.text for section in sections)
    for number, chunk in enumerate(chunked(*sections)):
        assert text[chunk.char_start : chunk.char_end] == chunk.text
        assert chunk.ordinal == number


@settings(max_examples=200)
@given(sections=SECTIONS)
def test_no_word_of_the_text_is_lost(sections: list[Section]) -> None:
    text = SECTION_SEPARATOR.join(section.text for section in sections)
    covered = [character.isspace() for character in text]
    for chunk in chunked(*sections):
        covered[chunk.char_start : chunk.char_end] = [True] * len(chunk.text)
    assert all(covered)


@settings(max_examples=200)
@given(sections=SECTIONS, title=st.none() | TEXTS)
def test_prefix_text_and_special_tokens_fit_the_model(sections: list[Section], title: str | None) -> None:
    """INVARIANT: the embedding model reads every chunk to its end."""
    tokenizer = small_tokenizer()
    for chunk in chunked(*sections, title=title):
        assert len(tokenizer.encode(chunk.text, add_special_tokens=False)) <= SMALL.chunk_tokens
        assert len(tokenizer.encode(chunk.prefix + chunk.text)) <= SMALL.model_tokens


def test_small_neighbours_under_one_heading_share_a_chunk() -> None:
    items = [Section(words(5), heading_path=("Pumps",)) for _ in range(12)]
    assert [COUNT(chunk.text) for chunk in chunked(*items)] == [30, 30]


def test_sections_under_different_headings_stay_apart() -> None:
    """Merged, neither would carry its own heading any more; measured, that finds less at the same length of context."""
    chunks = chunked(Section("pump", heading_path=("A",)), Section("valve", heading_path=("B",)))
    assert [(chunk.text, chunk.heading_path) for chunk in chunks] == [("pump", ("A",)), ("valve", ("B",))]


def test_a_heading_is_never_left_behind() -> None:
    path = ("A",)
    sections = [Section("A", "heading", path), Section(". ".join([words(6)] * 20), heading_path=path)]
    first, *_ = chunked(*sections, Section("A\nB", "heading", ("A", "B")), Section("pump", heading_path=("A", "B")))
    *_, last = chunked(*sections, Section("A\nB", "heading", ("A", "B")), Section("pump", heading_path=("A", "B")))
    assert first.text.startswith("A\n\npump")
    assert (first.prefix, last.prefix) == ("", "")
    assert last.text == "A\nB\n\npump"


@pytest.mark.parametrize("kind", ["code", "table", "list", "text"])
def test_a_block_that_fits_a_chunk_is_never_cut(kind: str) -> None:
    block = Section("\n\n".join(["pump valve bar"] * 9), kind)  # type: ignore[arg-type]
    assert [chunk.text for chunk in chunked(Section(words(20)), block)] == [words(20), block.text]


def test_only_cuts_inside_a_section_overlap() -> None:
    chunks = chunked(Section(words(30)), Section(". ".join([words(6)] * 20)), Section(words(30)))
    first, *inside, last = [left.char_end - right.char_start for left, right in pairwise(chunks)]
    between_sections = -len(SECTION_SEPARATOR)
    assert first == last == between_sections
    assert inside
    assert min(inside) > 0


@pytest.mark.parametrize("kind", ["table", "list"])
def test_a_cut_between_rows_or_items_needs_no_overlap(kind: str) -> None:
    rows = [f"pump {number} valve bar" for number in range(40)]
    chunks = chunked(Section("\n".join(rows), kind))  # type: ignore[arg-type]
    assert len(chunks) > 1
    assert [row for chunk in chunks for row in chunk.text.split("\n")] == rows


def test_a_row_that_is_larger_than_a_chunk_is_cut_with_overlap() -> None:
    rows = ["pump", ". ".join([words(6)] * 20)]
    chunks = chunked(Section("\n".join(rows), "table"))
    assert min(left.char_end - right.char_start for left, right in pairwise(chunks[1:])) > 0


def test_a_chunk_lies_on_one_page() -> None:
    chunks = chunked(Section(words(9), page=3), Section(words(8), page=3), Section(words(8), page=4))
    assert [(chunk.page, COUNT(chunk.text)) for chunk in chunks] == [(3, 17), (4, 8)]


def test_text_without_spaces_or_tokens_is_still_cut_by_length() -> None:
    """A word of over 100 letters is one token: by tokens alone, megabytes of it would be a single chunk."""
    chunks = chunked(Section("a" * 50_000), Section(" ".join("b" + " " * 600 for _ in range(50))))
    assert max(len(chunk.text) for chunk in chunks) <= SMALL.chunk_tokens * MAX_CHARACTERS_PER_TOKEN


def test_a_long_section_is_cut_the_same_with_and_without_windows() -> None:
    text = " ".join(f"{words(7, 'valve')} {number}." for number in range(3_000))
    from_windows = [chunk.text for chunk in chunked(Section(text))]
    longer = Chunker(COUNT, SMALL)
    in_one = [piece for _, piece in longer._splitter.chunk_indices(text)]
    assert from_windows == in_one


def test_chunks_come_before_the_last_section_is_read() -> None:
    def sections() -> Iterator[Section]:
        yield Section(words(30))
        yield Section(words(30))
        raise AssertionError("read too far ahead")

    assert next(Chunker(COUNT, SMALL).chunks(None, sections())).ordinal == 0


@pytest.mark.parametrize(
    ("title", "path", "expected"),
    [
        (None, (), ""),
        ("Manual", (), "Manual\n\n"),
        ("Manual", ("Manual", "Pumps"), "Manual > Pumps\n\n"),
        ("the pump", ("of the vessel in the bar", "four valve"), "the pump > four valve\n\n"),
        ("pump " * 30, ("valve " * 30,), "pump pump pump pump > valve valve valve valve\n\n"),
    ],
)
def test_the_prefix_keeps_title_and_nearest_heading_within_its_budget(
    title: str | None, path: tuple[str, ...], expected: str
) -> None:
    prefix = prefix_for(title, path, COUNT, 9)
    assert prefix == expected
    assert COUNT(prefix) <= 9


def test_embedded_text_is_the_prefix_and_then_the_text() -> None:
    assert embedded_text("Manual", ("Pumps",), "The pump starts.", COUNT) == "Manual > Pumps\n\nThe pump starts."


@pytest.mark.parametrize(
    "limits",
    [
        {"chunk_tokens": 480},
        {"chunk_tokens": 16, "overlap_tokens": 0},
        {"overlap_tokens": 400},
        {"prefix_tokens": -1},
    ],
)
def test_limits_that_cannot_hold_are_refused(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="tokens"):
        ChunkingLimits(**limits)
