"""A new table of contents for a PDF that has lost its own, as cut and overwritten files have.

PDFium finds the objects of such a file by itself, but gives up without a trailer that names the first of them. Objects
inside of compressed streams (ISO 32000-1, 7.5.7) it does not look for; those are written out behind the rest.
"""

import re
import zlib
from collections.abc import Iterator
from typing import Final

_OBJECT: Final = re.compile(rb"(?<!\d)(\d{1,7})[ \t\r\n]+\d{1,5}[ \t\r\n]+obj\b")
_END: Final = b"endobj"
_PAGE: Final = re.compile(rb"/Type\s*/Page(?![A-Za-z])")
_CATALOG: Final = re.compile(rb"/Type\s*/Catalog\b")
_OBJECT_STREAM: Final = re.compile(rb"/Type\s*/ObjStm\b")
_ENCRYPTED: Final = re.compile(rb"/Encrypt\b")
_FIRST: Final = re.compile(rb"/First\s+(\d{1,7})")
_STREAM: Final = re.compile(rb"stream\r?\n")
# Where a dictionary is told by its start: page dictionaries are short.
_HEAD_BYTES: Final = 4096
_MAX_OBJECT_NUMBER: Final = 4_000_000
_MAX_PAGES: Final = 20_000
_MAX_UNPACKED_BYTES: Final = 64 << 20


def repaired(content: bytes) -> bytes | None:
    """Return the file with a catalog of all pages that are left in it, or None when there are none to be found."""
    if _ENCRYPTED.search(content):
        return None
    unpacked = b"".join(_unpacked(content))
    whole = _closed(content) + unpacked
    pages = list(dict.fromkeys(number for number, head in _objects(whole) if _PAGE.search(head)))[:_MAX_PAGES]
    if not pages:
        return None
    root = min(max(number for number, _ in _objects(whole)) + 1, _MAX_OBJECT_NUMBER)
    kids = b" ".join(b"%d 0 R" % number for number in pages)
    catalog = b"%d 0 obj\n<</Type/Catalog/Pages %d 0 R>>\nendobj\n" % (root, root + 1)
    tree = b"%d 0 obj\n<</Type/Pages/Count %d/Kids[%b]>>\nendobj\n" % (root + 1, len(pages), kids)
    return whole + catalog + tree + b"trailer\n<</Size %d/Root %d 0 R>>\nstartxref\n0\n%%%%EOF\n" % (root + 2, root)


def _closed(content: bytes) -> bytes:
    """End the object that the file breaks off in; a table or trailer that it breaks off in is of no use."""
    end = content.rfind(_END) + len(_END)
    rest = content[end:] if end >= len(_END) else content
    return content + b"\nendstream\nendobj\n" if _OBJECT.search(rest) else content[:end] + b"\n"


def _objects(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the number of every object and the beginning of its dictionary."""
    previous: re.Match[bytes] | None = None
    for found in _OBJECT.finditer(content):
        if previous:
            yield int(previous[1]), _head(content, previous.end(), found.start())
        previous = found
    if previous:
        yield int(previous[1]), _head(content, previous.end(), len(content))


def _head(content: bytes, start: int, end: int) -> bytes:
    head = content[start : min(end, start + _HEAD_BYTES)]
    stream = _STREAM.search(head)
    return head[: stream.start()] if stream else head


def _unpacked(content: bytes) -> Iterator[bytes]:
    left = _MAX_UNPACKED_BYTES
    for found in _OBJECT.finditer(content):
        head = content[found.end() : found.end() + _HEAD_BYTES]
        stream, first = _STREAM.search(head), _FIRST.search(head)
        if stream and first and _OBJECT_STREAM.search(head, 0, stream.start()):
            objects = b"".join(_members(_inflated(content, found.end() + stream.end(), left), int(first[1])))
            left -= len(objects)
            yield objects
        if left <= 0:
            return


def _inflated(content: bytes, start: int, limit: int) -> bytes:
    """Return what can be unpacked: a damaged stream is good up to its damage."""
    unpacker = zlib.decompressobj()
    parts: list[bytes] = []
    size = 0
    while size < limit and start < len(content) and not unpacker.eof:
        try:
            parts.append(unpacker.decompress(content[start : start + _HEAD_BYTES], limit - size))
        except zlib.error:
            break
        size += len(parts[-1])
        start += _HEAD_BYTES
    return b"".join(parts)


def _members(unpacked: bytes, first: int) -> Iterator[bytes]:
    """Write out the objects of a stream, which begins with pairs of object number and offset."""
    numbers = [int(number) for number in re.findall(rb"\d{1,8}", unpacked[:first])]
    pairs = list(zip(numbers[::2], numbers[1::2], strict=False))
    ends = [*(offset for _, offset in pairs[1:]), len(unpacked) - first]
    for (number, offset), end in zip(pairs, ends, strict=False):
        yield b"%d 0 obj\n%b\nendobj\n" % (number, unpacked[first + offset : first + end])
