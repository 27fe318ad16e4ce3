"""The opaque cursor of a page: where the page before ended."""

import base64
import binascii
from datetime import datetime

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


def write_moment(moment: datetime, identity: str) -> str:
    """Return the cursor of the page that comes after something that is ordered by a time and its id."""
    return write_cursor(f"{moment.isoformat()} {identity}")


def read_moment(cursor: str) -> tuple[datetime, str]:
    """Return time and id where the page before ended; Rejected (`invalid_cursor`) when it is none that we wrote."""
    written, _, identity = read_cursor(cursor).partition(" ")
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        raise _invalid_cursor() from None
    if moment.tzinfo is None or not identity:
        raise _invalid_cursor()
    return moment, identity


def _invalid_cursor() -> Rejected:
    return Rejected(
        "cursor is not one that this API returned; start again without it", code="invalid_cursor", field="cursor"
    )
