"""The title of an office document."""

import re
from collections.abc import Iterator
from itertools import chain, islice
from typing import Final

from services.parser.document import Block, Extracted, Heading

TITLE_LEVEL: Final = 1
# A cover page and a table of contents may stand before the title.
_BLOCKS_BEFORE_TITLE: Final = 20
# What programs put there by themselves.
_NO_TITLE: Final = re.compile(
    r"(?:microsoft word - .*|(?:\w+ ){0,3}powerpoint(?:[ -]\w+)?|word document"
    r"|(?:document|presentation|book|slide|sheet) ?\d*"
    r"|untitled.*|title|.*\.(?:docx?|dotx?|pptx?|potx?|xlsx?|tmp|rtf|odt))",
    re.I,
)


def titled(property_title: str | None, blocks: Iterator[Block]) -> Extracted:
    """Give the blocks the title among the document's properties, else that of its first outermost heading."""
    beginning = list(islice(blocks, _BLOCKS_BEFORE_TITLE))
    headings = (block.text for block in beginning if isinstance(block, Heading) and block.level == TITLE_LEVEL)
    return Extracted(telling(property_title) or telling(next(headings, None)), chain(beginning, blocks))


def telling(title: str | None) -> str | None:
    """Return the title, None where it is empty or one that a program gave."""
    return title if title and title.strip() and not _NO_TITLE.fullmatch(title.strip()) else None
