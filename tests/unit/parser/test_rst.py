import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.parser.document import Section, Source
from services.parser.formats.rst import extract
from tests.unit.parser.bodies import bodies


def sections(text: str) -> list[tuple[str, str]]:
    blocks = extract(Source(text.encode(), "text/x-rst")).blocks
    return [(one.kind, one.text.strip("\n")) for one in bodies(blocks) if one.text.strip()]


def test_the_order_of_adornments_is_the_outline() -> None:
    text = "=====\nTitle\n=====\n\na\n\nOne\n===\n\nb\n\nTwo\n---\n\nc\n\nThree\n=====\n\nd\n"
    extracted = extract(Source(text.encode(), "text/x-rst"))
    assert extracted.title == "Title"
    assert [(one.heading_path, one.text) for one in bodies(extracted.blocks)] == [
        (("Title",), "a"),
        (("Title", "One"), "b"),
        (("Title", "One", "Two"), "c"),
        (("Title", "Three"), "d"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one\ntwo\n\nthree", [("text", "one\ntwo"), ("text", "three")]),
        ("- a\n- b\n\n  more\n- c\n\ntext", [("list", "- a\n- b\n\n  more\n- c"), ("text", "text")]),
        ("1. a\n#. b", [("list", "1. a\n#. b")]),
        (":Author: Me\n:Date: today", [("list", ":Author: Me\n:Date: today")]),
        ("Like this::\n\n    a\n      b\n\nend", [("text", "Like this:"), ("code", "a\n  b"), ("text", "end")]),
        (".. code-block:: python\n   :linenos:\n\n   x = 1\n\nend", [("code", "x = 1"), ("text", "end")]),
        (".. note:: Beware\n\n   of the dog", [("text", "Beware"), ("text", "of the dog")]),
        (".. figure:: a.png\n   :width: 3\n\n   The caption", [("text", "The caption")]),
        ("    quoted\n    text", [("text", "quoted\ntext")]),
        ("term\n  meaning", [("text", "term\n  meaning")]),
        ("before\n\n-----\n\nafter", [("text", "before"), ("text", "after")]),
        (".. [1] The note\n   goes on", [("text", "[1] The note\ngoes on")]),
        ("==  ==\nA   B\n==  ==\n1   2\n\n3   4\n==  ==\n\nend", [("table", "A   B\n1   2\n3   4"), ("text", "end")]),
        ("+---+---+\n| A | B |\n+===+===+\n| 1 | 2 |\n|   | 3 |\n+---+---+\n", [("table", "A | B\n1 | 2 3")]),
        ("see :ref:`this <x>` and :class:`~a.B` and `text <http://x>`_", [("text", "see this and `a.B` and text")]),
    ],
)
def test_blocks_keep_their_shape(text: str, expected: list[tuple[str, str]]) -> None:
    assert sections(text) == expected


@pytest.mark.parametrize(
    "hidden",
    [
        ".. a comment\n   of two lines",
        ".. _target:",
        ".. _link: http://x",
        ".. |sub| replace:: x",
        ".. toctree::\n   :maxdepth: 2\n\n   a\n   b",
        ".. include:: /etc/passwd",
        ".. raw:: html\n   :file: /etc/passwd",
        ".. image:: a.png",
        ".. csv-table::\n   :file: /etc/passwd",
        "..\n   comment",
    ],
)
def test_what_no_reader_sees_is_dropped_and_nothing_is_included(hidden: str) -> None:
    assert sections(f"before\n\n{hidden}\n\nafter") == [("text", "before"), ("text", "after")]


def test_endless_nesting_is_read() -> None:
    assert "deep" in "".join(text for _, text in sections("\n\n".join("  " * n + "x" for n in range(1_000)) + " deep"))


@given(st.text(st.sampled_from("=-`.:*_+| ab1\n"), max_size=120))
def test_no_text_fails(text: str) -> None:
    assert all(isinstance(one, Section) for one in bodies(extract(Source(text.encode(), "")).blocks))
