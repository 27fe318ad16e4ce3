"""The opaque cursor of a page: where the page before ended."""

import base64
import binascii

from shared.errors import Rejected

# A longer number is no 64-bit one.
MAX_SEQUENCE_DIGITS = 19


def write_cursor(document_id: str) -> str:
    """Return the cursor of the page that comes after a document."""
    return base64.urlsafe_b64encode(document_id.encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> str:
    """Return the last document of the page before; Rejected (`invalid_cursor`) when it is none that we wrote."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        document_id = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        document_id = ""
    if not document_id or "\x00" in document_id or write_cursor(document_id) != cursor:
        raise _invalid_cursor()
    return document_id


def write_sequence(sequence: int) -> str:
    """Return the cursor of the page that comes after a place in a stream."""
    return write_cursor(str(sequence))


def read_sequence(cursor: str) -> int:
    """Return the place where the page before ended; Rejected (`invalid_cursor`) when it is none that we wrote."""
    text = read_cursor(cursor)
    if not (text.isascii() and text.isdigit() and len(text) < MAX_SEQUENCE_DIGITS):
        raise _invalid_cursor()
    return int(text)


def _invalid_cursor() -> Rejected:
    return Rejected(
        "cursor is not one that this API returned; start again without it", code="invalid_cursor", field="cursor"
    )
