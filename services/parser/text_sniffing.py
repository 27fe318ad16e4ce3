"""What a text is by its beginning: mail, JSON, XML."""

import re
from json import JSONDecodeError, JSONDecoder
from typing import Final

from lxml import etree

_FIELD: Final = re.compile(r"([!-9;-~]{1,70}):")
_MAILBOX_LINE: Final = re.compile(r"From [^\n]*\n")
_BLANK_LINE: Final = re.compile(r"\n[ \t]*\n")
_SHOWN_FIELDS: Final = frozenset({"from", "to", "cc", "date", "subject"})
# Nobody writes these by hand.
_TRANSPORT_FIELDS: Final = frozenset(
    {"delivered-to", "dkim-signature", "message-id", "mime-version", "received", "return-path", "x-mailer"}
)
_MIME_FIELDS: Final = frozenset({"content-transfer-encoding", "content-type"})
_WRITTEN_FIELDS: Final = 3
_JSON: Final = JSONDecoder(strict=False)
_JSON_START: Final = re.compile(r"\s*[\[{]\s*[\[{\"\]}\w-]")
_UNENDED: Final = ("Unterminated string", "Invalid \\escape", "Invalid \\uXXXX")
# A cut value may end in the middle of `false` or of a number.
_CUT_CHARACTERS: Final = 12
_NOTEBOOK: Final = re.compile(rb'"nbformat"\s*:\s*\d')
_NOTEBOOK_CELLS: Final = re.compile(rb'"(?:cells|worksheets)"\s*:\s*\[')
_XML_ROOT: Final = re.compile(r"(?>\s|<!--.*?-->)*+<(?:!DOCTYPE\s|[A-Za-z_][\w.:-]*[\s/>])", re.S)


def is_transported_mail(beginning: str) -> bool:
    """Tell mail as servers keep it from everything else."""
    fields = _header_fields(beginning)
    return bool(fields & _TRANSPORT_FIELDS) and bool(fields & (_SHOWN_FIELDS | _MIME_FIELDS))


def is_written_mail(beginning: str) -> bool:
    """Tell a text that begins like a mail; in a file that is called something else it may be anything."""
    return len(_header_fields(beginning) & _SHOWN_FIELDS) >= _WRITTEN_FIELDS


def is_json(beginning: str, *, cut: bool) -> bool:
    """Tell JSON, also several documents in a row; `cut` says that the text goes on behind the beginning."""
    if not _JSON_START.match(beginning):
        return False
    text = beginning.lstrip()
    try:
        _, end = _JSON.raw_decode(text)
    except JSONDecodeError as error:
        return cut and (error.msg.startswith(_UNENDED) or error.pos >= len(text) - _CUT_CHARACTERS)
    except RecursionError:
        return True
    # Text like "[1] Smith" begins with JSON as well.
    rest = text[end:].lstrip()
    return not rest or ("\n" in text[end : end + 3] and bool(_JSON_START.match(rest)))


def is_notebook(content: bytes) -> bool:
    """Tell a notebook by what only notebooks have."""
    return bool(_NOTEBOOK_CELLS.search(content)) and bool(_NOTEBOOK.search(content))


def is_xml(beginning: str, *, cut: bool) -> bool:
    """Tell XML without a declaration: it is well-formed as far as it can be seen, and an element ends in it."""
    if not _XML_ROOT.match(beginning) or not ("</" in beginning or "/>" in beginning):
        return False
    parser = etree.XMLPullParser((), resolve_entities=False, no_network=True, load_dtd=False)
    try:
        parser.feed(beginning.lstrip().encode("utf-8", "replace"))
        if not cut:
            parser.close()
    except etree.XMLSyntaxError:
        return False
    return True


def _header_fields(beginning: str) -> set[str]:
    text = beginning.replace("\r\n", "\n").lstrip()
    text = _MAILBOX_LINE.sub("", text, count=1) if text.startswith("From ") else text
    *whole, last = _BLANK_LINE.split(text, maxsplit=1)[0].split("\n")
    fields: set[str] = set()
    for line in (*whole, last):
        field = _FIELD.match(line)
        if field:
            fields.add(field.group(1).lower())
        elif not line.startswith((" ", "\t")) and line is not last:
            return set()
    return fields
