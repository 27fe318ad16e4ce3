"""The opaque cursor of a page: where the page before ended."""

import base64
import binascii

from shared.errors import Rejected


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
        raise Rejected(
            "cursor is not one that this API returned; start again without it", code="invalid_cursor", field="cursor"
        )
    return document_id
