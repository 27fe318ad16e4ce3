"""Cursors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.persistence.cursor import read_cursor, read_sequence, write_cursor, write_sequence
from shared.errors import Rejected


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_a_cursor_leads_back_to_its_document(document_id: str) -> None:
    cursor = write_cursor(document_id)
    assert read_cursor(cursor) == document_id
    assert cursor.isascii()
    assert not set(cursor) & set("+/=?&")


@pytest.mark.parametrize(
    "cursor", ["", "!", "YQ==", "YR", "_w", "AA", "ü", "a b", "YQ\n"], ids=lambda cursor: repr(cursor)
)
def test_a_cursor_that_nobody_wrote_is_rejected_and_says_so(cursor: str) -> None:
    with pytest.raises(Rejected) as caught:
        read_cursor(cursor)
    assert (caught.value.error_code, caught.value.field) == ("invalid_cursor", "cursor")


@given(st.integers(1, 10**18 - 1))
def test_a_cursor_leads_back_to_its_place_in_a_stream(sequence: int) -> None:
    assert read_sequence(write_sequence(sequence)) == sequence


@pytest.mark.parametrize("text", ["d", "-1", "\u0661", "9" * 40])
def test_a_cursor_of_documents_is_none_of_a_stream(text: str) -> None:
    with pytest.raises(Rejected, match="start again"):
        read_sequence(write_cursor(text))
