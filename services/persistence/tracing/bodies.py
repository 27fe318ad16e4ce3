"""Bodies of bounded size, before they are unpacked and after: a small one may hold gigabytes of nothing."""

import zlib
from collections.abc import AsyncIterator
from typing import Final

from shared.errors import InvalidMessage, Rejected

TOO_LARGE: Final = "too_large"
_GZIP_WINDOW: Final = 31


async def read(chunks: AsyncIterator[bytes], max_bytes: int) -> bytes:
    """Return what comes, together; Rejected (`too_large`) as soon as it is more than allowed."""
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
    return bytes(body)


def unpack(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Return a body without its `Content-Encoding` (none or gzip), never unpacking more than allowed.

    Raises Rejected (`too_large`, `unsupported_encoding`), InvalidMessage for what is no gzip.
    """
    if encoding in ("", "identity"):
        return body
    if encoding != "gzip":
        raise Rejected(
            f"Content-Encoding {encoding!r} is not known here; use gzip or none", code="unsupported_encoding"
        )
    unpacking = zlib.decompressobj(_GZIP_WINDOW)
    try:
        # One byte more than allowed tells that there would have been more.
        unpacked = unpacking.decompress(body, max_bytes + 1)
    except zlib.error:
        raise InvalidMessage("the body is not gzip, as its Content-Encoding says", field="body") from None
    if len(unpacked) > max_bytes:
        raise _too_large(max_bytes)
    if not unpacking.eof or unpacking.unused_data:
        raise InvalidMessage("the gzip body is cut off, or something follows it", field="body")
    return unpacked


def _too_large(max_bytes: int) -> Rejected:
    return Rejected(f"the body is over the limit of {max_bytes} bytes; export fewer spans at a time", code=TOO_LARGE)
