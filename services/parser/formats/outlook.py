"""Outlook messages (MSG)."""

import re
from collections.abc import Iterator
from functools import partial
from typing import Final

from services.parser.document import Extracted, Source
from services.parser.formats import letter
from services.parser.formats.letter import Attachment, Body, Letter
from services.parser.formats.outlook_properties import Container, Path, Properties
from services.parser.formats.rtf_compression import decompress

# Property numbers, from MS-OXPROPS.
_CLASS: Final = 0x001A
_SUBJECT: Final = 0x0037
_DATES: Final = (0x0039, 0x0E06)
_SENDER_NAME: Final = 0x0C1A
_SENDER_ADDRESSES: Final = (0x5D01, 0x0C1F)
_SHOWN_RECIPIENTS: Final = {"To": 0x0E04, "Cc": 0x0E03}
_RECIPIENT_KIND: Final = 0x0C15
_RECIPIENT_KINDS: Final = {"To": 1, "Cc": 2}
_RECIPIENT_NAME: Final = 0x3001
_RECIPIENT_ADDRESSES: Final = (0x39FE, 0x3003)
_BODY: Final = 0x1000
_HTML: Final = 0x1013
_COMPRESSED_RTF: Final = 0x1009
_ATTACHED_DATA: Final = 0x3701
_ATTACHED_NAMES: Final = (0x3707, 0x3704, 0x3001)
_ATTACHED_TYPE: Final = 0x370E
_ATTACHED_MESSAGE: Final = "__substg1.0_3701000D"
_TRANSPORT_HEADERS: Final = 0x007D
_ENCRYPTED_CLASS: Final = "IPM.NOTE.SMIME"
_PGP_HEADER: Final = re.compile(r"^content-type:\s*multipart/encrypted", re.I | re.M)
_MAX_RECIPIENTS: Final = 100
# Where the fixed-size properties begin depends on what they belong to.
_OF_MESSAGE, _OF_INNER_MESSAGE, _OF_PART = 32, 24, 8


def extract(source: Source) -> Extracted:
    """Read an Outlook message: header lines, the best form of its body, then its attachments."""
    return letter.extracted(_letter(Container(source.content), (), 0), source)


def _letter(container: Container, path: Path, depth: int) -> Letter:
    message = Properties(container, path, _OF_INNER_MESSAGE if depth else _OF_MESSAGE)
    bodies = list(_bodies(message))
    secured = message.text(_CLASS).upper() == _ENCRYPTED_CLASS and not bodies
    if secured or _PGP_HEADER.search(message.text(_TRANSPORT_HEADERS)):
        raise letter.encrypted()
    attachments = (_attachment(container, part, depth) for part in container.inside(path, "__attach_version1.0_#"))
    return Letter(message.text(_SUBJECT), list(_headers(container, path, message)), bodies, list(attachments))


def _headers(container: Container, path: Path, message: Properties) -> Iterator[tuple[str, str]]:
    recipients = [
        Properties(container, part, _OF_PART, message.codec)
        for _, part in zip(range(_MAX_RECIPIENTS), container.inside(path, "__recip_version1.0_#"), strict=False)
    ]
    yield "From", _person(message, _SENDER_NAME, _SENDER_ADDRESSES)
    for name, kind in _RECIPIENT_KINDS.items():
        people = [
            _person(recipient, _RECIPIENT_NAME, _RECIPIENT_ADDRESSES)
            for recipient in recipients
            if recipient.integer(_RECIPIENT_KIND) == kind
        ]
        yield name, ", ".join(filter(None, people)) or message.text(_SHOWN_RECIPIENTS[name])
    yield "Date", next(filter(None, map(message.time, _DATES)), "")
    yield "Subject", message.text(_SUBJECT)


def _person(properties: Properties, name: int, addresses: tuple[int, ...]) -> str:
    shown = properties.text(name).strip()
    # Addresses inside of Exchange are paths in a directory that say nothing outside.
    address = next((found for number in addresses if "@" in (found := properties.text(number))), "").strip()
    return f"{shown} <{address}>" if shown and address and shown != address else shown or address


def _bodies(message: Properties) -> Iterator[Body]:
    plain, rich = message.text(_BODY), message.binary_text(_HTML)
    best = letter.best_body([Body("plain", plain), Body("html", rich)])
    if best is None and (compressed := message.binary(_COMPRESSED_RTF)):
        best = Body("rtf", decompress(compressed).decode("latin-1"))
    if best:
        yield best


def _attachment(container: Container, path: Path, depth: int) -> Attachment:
    properties = Properties(container, path, _OF_PART)
    name = next(filter(None, map(properties.text, _ATTACHED_NAMES)), None)
    inner = (*path, _ATTACHED_MESSAGE)
    if inner in container:
        return letter.attached_letter(name, partial(_letter, container, inner, depth + 1), depth + 1)
    media_type = properties.text(_ATTACHED_TYPE) or None
    if media_type and media_type.startswith("multipart/"):
        # A signed message: the whole of it is kept as an attachment.
        media_type = "message/rfc822"
    return letter.attached_file(name, media_type, partial(properties.binary, _ATTACHED_DATA))
