import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.parser.document import Section, Source
from services.parser.formats.org import extract
from tests.unit.parser.bodies import bodies


def sections(text: str) -> list[tuple[str, str]]:
    blocks = extract(Source(text.encode(), "text/x-org")).blocks
    return [(one.kind, one.text) for one in bodies(blocks)]


def test_headlines_are_headings_without_what_makes_them_tasks() -> None:
    text = "* TODO [#A] One :tag:x:\na\n** DONE Two\nb\n* Three\nc"
    found = bodies(extract(Source(text.encode(), "text/x-org")).blocks)
    assert [(one.heading_path, one.text) for one in found] == [
        (("One",), "a"),
        (("One", "Two"), "b"),
        (("Three",), "c"),
    ]


@pytest.mark.parametrize(
    ("text", "title"),
    [("#+TITLE: Notes\n* One\n", "Notes"), ("text\n* One :x:\n", "One"), ("** Two\n* One", None), ("text", None)],
)
def test_the_title_is_the_keywords_or_the_first_headlines(text: str, title: str | None) -> None:
    assert extract(Source(text.encode(), "text/x-org")).title == title


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one\ntwo\n\nthree", [("text", "one\ntwo"), ("text", "three")]),
        ("- a\n  more\n- b\n\ntext", [("list", "- a\n  more\n- b"), ("text", "text")]),
        ("1. a\n2. b", [("list", "1. a\n2. b")]),
        ("#+BEGIN_SRC sh\n  ls\n\n* no\n#+END_SRC\nend", [("code", "  ls\n\n* no"), ("text", "end")]),
        ("#+begin_quote\nsaid\n#+end_quote\nend", [("text", "said"), ("text", "end")]),
        (": a\n:  b\nend", [("code", "a\n b"), ("text", "end")]),
        ("| A | B |\n|---+---|\n| 1 | [[x][2]] |", [("table", "A | B\n1 | 2")]),
        ("see [[http://x][the page]] or [[http://y]]", [("text", "see the page or http://y")]),
        ("#+CAPTION: A figure\n[[file:a.png]]", [("text", "A figure"), ("text", "file:a.png")]),
        ("#+BEGIN_SRC\nnever closed", [("code", "never closed")]),
    ],
)
def test_blocks_keep_their_shape(text: str, expected: list[tuple[str, str]]) -> None:
    assert sections(text) == expected


@pytest.mark.parametrize(
    "hidden",
    [
        "# comment",
        "#+STARTUP: overview",
        ":PROPERTIES:\n:ID: 7\n:END:",
        "SCHEDULED: <2024-01-01>",
        "#+begin_comment\nhidden\n#+end_comment",
        "#+INCLUDE: /etc/passwd",
    ],
)
def test_what_no_reader_sees_is_dropped_and_nothing_is_included(hidden: str) -> None:
    assert sections(f"before\n{hidden}\nafter") == [("text", "before"), ("text", "after")]


@given(st.text(st.sampled_from("*#+:|-[]_ abBEGIN\n"), max_size=120))
def test_no_text_fails(text: str) -> None:
    assert all(isinstance(one, Section) for one in bodies(extract(Source(text.encode(), "")).blocks))
