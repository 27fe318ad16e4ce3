"""What is read from points as they are stored."""

from typing import Any

import numpy as np
import pytest

from services.retriever.payload import chunk_payload, read_point
from tests.contract.vector_indexes import point

VECTOR = np.ones(2, np.float32)


@pytest.mark.parametrize(
    ("fields", "prefix"),
    [
        ({"title": "Handbook", "heading_path": ("One", "Two")}, "Handbook > One > Two\n\n"),
        ({"title": "One", "heading_path": ("One",)}, "One\n\n"),
        ({"title": None, "heading_path": ("", "Two")}, "Two\n\n"),
        ({"title": None, "heading_path": ()}, ""),
    ],
)
def test_the_prefix_of_an_earlier_release_follows_from_title_and_headings(fields: dict[str, Any], prefix: str) -> None:
    stored = chunk_payload(point("a", **fields))
    del stored["prefix"]

    assert read_point("id", stored, VECTOR, None).prefix == prefix


def test_a_stored_prefix_is_taken_as_it_is() -> None:
    stored = chunk_payload(point("a", title="Handbook", heading_path=("One",), prefix=""))

    assert read_point("id", stored, VECTOR, None).prefix == ""
