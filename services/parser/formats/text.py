"""Plain text: every paragraph is a section."""

import re
from collections.abc import Iterator
from typing import Final

from services.parser.document import Extracted, Section, Source

_BLANK_LINES: Final = re.compile(r"\n(?:[^\S\n]*\n)+")


def extract(source: Source) -> Extracted:
    """Read plain text, which has no title and no headings."""
    return Extracted(None, paragraphs(source.text()))


def paragraphs(text: str) -> Iterator[Section]:
    """Yield what stands between blank lines; the indentation of first lines stays."""
    start = 0
    for blank in _BLANK_LINES.finditer(text):
        yield Section(text[start : blank.start()])
        start = blank.end()
    yield Section(text[start:])
