import textwrap

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from services.cli.wrapping import Wrapping

WORDS = st.lists(st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=9))


def wrapped(pieces: list[str], width: int) -> str:
    wrapping = Wrapping(width)
    return "".join([*map(wrapping.feed, pieces), wrapping.rest()])


def test_lines_break_between_words() -> None:
    assert wrapped(["A dead let", "ter goes to DE", "AD [1]."], 14) == "A dead letter\ngoes to DEAD\n[1]."


def test_a_word_is_written_once_it_is_whole() -> None:
    wrapping = Wrapping(20)
    assert [wrapping.feed(piece) for piece in ("Wat", "er ", "boils")] == ["", "Water", ""]
    assert wrapping.rest() == " boils"


def test_lines_of_the_text_stay_and_so_do_their_blanks() -> None:
    assert wrapped(["a list:\n  - one\n\n  - two"], 30) == "a list:\n  - one\n\n  - two"


def test_a_word_that_fits_no_line_stands_as_it_is() -> None:
    assert wrapped(["see https://example.org/a/long/way now"], 12) == "see\nhttps://example.org/a/long/way\nnow"


def test_wide_characters_take_two_columns() -> None:
    assert wrapped(["水水 水水 水"], 9) == "水水 水水\n水"


@given(WORDS, st.integers(9, 40), st.integers(1, 7))
def test_pieces_do_not_matter_and_no_line_is_too_long(words: list[str], width: int, size: int) -> None:
    text = " ".join(words)
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    found = wrapped(pieces, width)
    assert found == wrapped([text], width)
    assert found.split() == text.split()
    assert all(cell_len(line) <= width or " " not in line for line in found.split("\n"))


@given(st.lists(st.text("abc", min_size=1, max_size=8), min_size=1), st.integers(8, 30))
def test_plain_words_break_where_the_standard_library_breaks_them(words: list[str], width: int) -> None:
    text = " ".join(words)
    assert wrapped([text], width).split("\n") == textwrap.wrap(text, width)
