import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.parser.document import Block, Heading, Section, clean, one_line, with_heading_paths


@given(text=st.text(st.characters(), max_size=200) | st.text(st.sampled_from("\0\ud800\udfff\ufeff\x07\x85\r\na")))
def test_clean_text_can_be_stored_anywhere(text: str) -> None:
    """INVARIANT: extracted text holds no NUL, which PostgreSQL refuses, and no lone surrogate, which UTF-8 cannot."""
    cleaned = clean(text)
    assert "\0" not in cleaned
    assert cleaned.encode("utf-8").decode("utf-8") == cleaned
    assert "\r" not in cleaned


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one\r\ntwo\rthree\u2028four\x0cfive", "one\ntwo\nthree\nfour\nfive"),
        ("a\tb", "a\tb"),
        ("co\xadoperate", "cooperate"),
        ("\ufeffmark", "mark"),
        ("emoji 👩\u200d🔧 stays", "emoji 👩\u200d🔧 stays"),
    ],
)
def test_cleaning_keeps_what_is_written(text: str, expected: str) -> None:
    assert clean(text) == expected


def test_one_line_is_bounded_however_long_the_text() -> None:
    line = one_line(" a  title\nof " + "many words " * 100_000, 20)
    assert line == "a title of many wor…"


H = Heading
S = Section


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ([S("a")], [("a", "")]),
        (
            [H(1, "A"), S("a"), H(2, "B"), S("b"), H(1, "C"), S("c")],
            [("A", "A"), ("a", "A"), ("B", "AB"), ("b", "AB"), ("C", "C"), ("c", "C")],
        ),
        ([H(1, "A"), H(3, "B"), S("b"), H(2, "C"), S("c")], [("A\nB", "AB"), ("b", "AB"), ("C", "AC"), ("c", "AC")]),
        ([H(2, "A"), S("a"), H(1, "B"), S("b")], [("A", "A"), ("a", "A"), ("B", "B"), ("b", "B")]),
        ([H(1, "A"), H(2, "Q"), H(2, "R"), S("r")], [("A\nQ", "AQ"), ("R", "AR"), ("r", "AR")]),
        ([S("a"), H(1, "A"), H(2, "Q")], [("a", ""), ("A\nQ", "AQ")]),
        ([H(1, "A"), S("a"), H(1, "x" * 201), S("b")], [("A", "A"), ("a", "A"), ("x" * 201, "A"), ("b", "A")]),
    ],
    ids=["none", "nested", "skipped level", "outer later", "question alone", "last alone", "too long to be a heading"],
)
def test_sections_carry_the_headings_above_them(blocks: list[Block], expected: list[tuple[str, str]]) -> None:
    found = [(section.text, section.heading_path) for section in with_heading_paths(blocks)]
    assert found == [(text, tuple(path)) for text, path in expected]


def test_a_heading_is_on_the_page_of_what_it_stands_over() -> None:
    found = list(with_heading_paths([H(1, "A", 1), H(2, "B", 1), S("b", page=2), H(1, "C", 3)]))
    assert [(section.kind, section.page) for section in found] == [("heading", 2), ("text", 2), ("heading", 3)]
