"""PDFs small enough to write down: objects, a table of where they stand, and a trailer."""

import zlib
from collections.abc import Iterable, Sequence
from itertools import accumulate

Text = tuple[float, float, float, str]
HEADER = b"%PDF-1.7\n"
FONT = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>"


def pdf(objects: Sequence[bytes], trailer: bytes = b"") -> bytes:
    """Return a file of these objects, numbered from 1; the first is the catalog."""
    parts = [HEADER, *(b"%d 0 obj\n%b\nendobj\n" % item for item in enumerate(objects, start=1))]
    *offsets, start = accumulate(map(len, parts))
    size = len(objects) + 1
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    parts.append(b"xref\n0 %d\n0000000000 65535 f \n%btrailer\n" % (size, table))
    parts.append(b"<</Size %d/Root 1 0 R%b>>\nstartxref\n%d\n%%%%EOF\n" % (size, trailer, start))
    return b"".join(parts)


def stream(content: bytes, entries: bytes = b"", *, packed: bool = False) -> bytes:
    """Return a stream object; `packed` compresses it."""
    if packed:
        content, entries = zlib.compress(content), entries + b"/Filter/FlateDecode"
    return b"<<%b/Length %d>>\nstream\n%b\nendstream" % (entries, len(content), content)


def drawing(texts: Iterable[Text]) -> bytes:
    """Return the content that shows each text at (x, y) in a size, in points."""
    return b"\n".join(
        b"BT /F1 %g Tf 1 0 0 1 %g %g Tm (%b) Tj ET" % (size, x, y, _escaped(text)) for x, y, size, text in texts
    )


def written(*pages: Iterable[Text], trailer: bytes = b"", catalog: bytes = b"", more: Sequence[bytes] = ()) -> bytes:
    """Return a file with these pages; page n is object 4 + 2n (n from 0), `more` follows the last page's content."""
    return drawn(*map(drawing, pages), trailer=trailer, catalog=catalog, more=more)


def drawn(*contents: bytes, trailer: bytes = b"", catalog: bytes = b"", more: Sequence[bytes] = ()) -> bytes:
    """Return a file whose pages have these contents; the objects are numbered as in `written`."""
    kids = b" ".join(b"%d 0 R" % (4 + 2 * number) for number in range(len(contents)))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R%b>>" % catalog,
        b"<</Type/Pages/Count %d/Kids[%b]/MediaBox[0 0 612 792]>>" % (len(contents), kids),
        FONT,
    ]
    for number, content in enumerate(contents):
        objects += [page(b"/Contents %d 0 R" % (5 + 2 * number)), stream(content)]
    return pdf([*objects, *more], trailer)


def page(entries: bytes) -> bytes:
    """Return a page of the tree in object 2 with the font of object 3."""
    return b"<</Type/Page/Parent 2 0 R/Resources<</Font<</F1 3 0 R>>>>%b>>" % entries


def lines(*texts: str, left: float = 72, top: float = 720, size: float = 10, pitch: float = 12) -> list[Text]:
    """Return lines of text, one under the other."""
    return [(left, top - number * pitch, size, text) for number, text in enumerate(texts)]


def _escaped(text: str) -> bytes:
    encoded = text.encode("cp1252")
    return encoded.replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
