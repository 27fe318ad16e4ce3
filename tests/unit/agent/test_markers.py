"""Markers are found wherever the pieces of a text end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.agent.markers import Marker, MarkerReader


def read(pieces: list[str]) -> tuple[str, list[tuple[int, ...]]]:
    """Return the text with `#` for each marker, and the numbers of the markers."""
    reader, text, numbers = MarkerReader(), "", []
    for piece in pieces:
        for part in reader.feed(piece):
            if isinstance(part, Marker):
                numbers.append(part.numbers)
            text += f"{part.space}#" if isinstance(part, Marker) else part
    return text + reader.end(), numbers


@pytest.mark.parametrize(
    ("text", "shown", "numbers"),
    [
        ("It opened in 1887 [2].", "It opened in 1887 #.", [(2,)]),
        ("Both say so [1, 3]; [4;5]", "Both say so #; #", [(1, 3), (4, 5)]),
        ("As told [passage 2] and [Passages 1, 2]", "As told # and #", [(2,), (1, 2)]),
        ("[1][2]", "##", [(1,), (2,)]),
        ("a[i] = [x, y] and [link](to) [12345]", "a[i] = [x, y] and [link](to) [12345]", []),
        ("an open [", "an open [", []),
        ("it ends [2", "it ends [2", []),
    ],
)
def test_a_marker_is_told_from_other_brackets(text: str, shown: str, numbers: list[tuple[int, ...]]) -> None:
    assert read([text]) == (shown, numbers)
    assert read(list(text)) == (shown, numbers)


@given(st.text(alphabet="ab [],1;2\n]["), st.data())
def test_where_the_pieces_end_makes_no_difference(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert read(pieces) == read([text])


def test_a_long_bracket_is_not_held_back_for_ever() -> None:
    reader = MarkerReader()
    assert "".join(str(part) for part in reader.feed("[" + "1 " * 50)).startswith("[1")
