"""Cursors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.persistence.cursor import read_cursor, write_cursor
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
