"""Mail as it travels (RFC 5322, MIME).

The parser's `compat32` policy, with encoded words decoded here: the newer policies raise IndexError, AttributeError and
TypeError on one broken header in ten, and take seconds for a long list of recipients.
"""

import re
from binascii import a2b_base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32
from functools import partial
from itertools import groupby, islice
from operator import itemgetter
from quopri import decodestring
from typing import Final

from services.parser.document import Extracted, Source, clean, one_line
from services.parser.errors import ExtractionError
from services.parser.formats import letter
from services.parser.formats.letter import Attachment, Body, Letter
from services.parser.text_encoding import text_encoding

_SHOWN: Final = ("From", "To", "Cc", "Date", "Subject")
_TRANSPORT: Final = frozenset({"Content-Type", "Message-Id", "Mime-Version", "Received"})
_MAX_FIELDS: Final = 100
_MAX_PARTS: Final = 1_000
_MAX_NAME_CHARACTERS: Final = 255
_MAX_HEADER_CHARACTERS: Final = 20_000
_ENCODED_WORD: Final = re.compile(r"=\?([\w.:-]{1,40})(?:\*[\w-]*)?\?([bq])\?([^?]*)\?=", re.I | re.A)
_ENCODED_WORDS: Final = re.compile(rf"(?:{_ENCODED_WORD.pattern}\s*(?==\?))*{_ENCODED_WORD.pattern}", re.I | re.A)
_SIGNATURES: Final = re.compile(r"application/(?:(?:x-)?pkcs7-signature|pgp-(?:signature|keys))$")
_SMIME: Final = re.compile(r"application/(?:x-)?pkcs7-mime$")
_SURROGATE: Final = re.compile("[\udc80-\udcff]")


def extract(source: Source) -> Extracted:
    """Read a mail: header lines, the best form of its body, then its attachments."""
    return letter.extracted(_letter(_parsed(source)), source)


def _parsed(source: Source) -> Message:
    content = source.content
    if source.encoding and source.encoding.startswith(("utf-16", "utf-32", "utf-8-sig")):
        content = content.decode(source.encoding, "replace").encode()
    try:
        return BytesParser(policy=compat32).parsebytes(content.lstrip())
    except RecursionError:
        raise ExtractionError("corrupt", "The parts of the message nest too deeply.") from None


@dataclass(slots=True)
class _Parts:
    """What the message's parts come to."""

    bodies: list[Body] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)
    depth: int = 0
    count: int = 0


def _letter(message: Message, depth: int = 0) -> Letter:
    parts = _Parts(depth=depth)
    _collect(message, parts, whole=True)
    headers = [(name, _header(message, name)) for name in _shown(message)]
    return Letter(_header(message, "Subject"), headers, parts.bodies, parts.attachments)


def _shown(message: Message) -> Iterable[str]:
    """Return the names of the lines that a mail program shows; a memo that somebody wrote by hand is shown whole."""
    names = dict.fromkeys(name.strip().title() for name in islice(message.keys(), _MAX_FIELDS))
    return _SHOWN if _TRANSPORT.intersection(names) else [*_SHOWN, *(name for name in names if name not in _SHOWN)]


def _collect(part: Message, parts: _Parts, *, whole: bool = False) -> None:
    parts.count += 1
    kind = part.get_content_type()
    if parts.count > _MAX_PARTS:
        raise ExtractionError("too_large", f"The message has more than {_MAX_PARTS} parts.")
    if kind == "multipart/encrypted" or (whole and _SMIME.match(kind) and _enveloped(part)):
        raise letter.encrypted()
    if kind == "message/rfc822" and not whole:
        parts.attachments.append(_inner_message(part, parts.depth + 1))
    elif part.is_multipart():
        _collect_all(part, parts, alternatives=kind == "multipart/alternative")
    elif not _SIGNATURES.match(kind):
        _collect_leaf(part, kind, parts)


def _collect_all(part: Message, parts: _Parts, *, alternatives: bool) -> None:
    before = len(parts.bodies)
    for child in _children(part):
        _collect(child, parts)
    if alternatives:
        best = letter.best_body(parts.bodies[before:])
        parts.bodies[before:] = [best] if best else []


def _children(part: Message) -> Iterator[Message]:
    payload = part.get_payload()
    if isinstance(payload, list):
        yield from (child for child in payload if isinstance(child, Message))


def _collect_leaf(part: Message, kind: str, parts: _Parts) -> None:
    name = one_line(_decoded(part.get_filename("") or ""), _MAX_NAME_CHARACTERS) or None
    if kind.startswith("text/") and not name and part.get_content_disposition() != "attachment":
        text = _text(_payload(part), part.get_content_charset())
        parts.bodies.append(Body("html" if kind == "text/html" else "plain", text))
    else:
        parts.attachments.append(letter.attached_file(name, _declared_type(part), partial(_payload, part)))


def _declared_type(part: Message) -> str:
    charset = part.get_content_charset()
    return part.get_content_type() + (f"; charset={charset}" if charset else "")


def _inner_message(part: Message, depth: int) -> Attachment:
    inner = next(_children(part), None)
    name = _decoded(part.get_filename("") or "") or (_header(inner, "Subject") if inner else "")
    encoding = str(part.get("Content-Transfer-Encoding", "")).strip().lower()
    if inner is None or (encoding in ("base64", "quoted-printable") and not inner.keys()):
        # RFC 2046 forbids to encode an attached message; done all the same, it has been taken for a body.
        holder = inner or part
        holder["Content-Transfer-Encoding"] = encoding
        return letter.attached_file(name or None, "message/rfc822", partial(_payload, holder))
    return letter.attached_letter(name or None, partial(_letter, inner, depth), depth)


def _enveloped(part: Message) -> bool:
    """Tell an encrypted message from one that is only signed, which also says so."""
    return str(part.get_param("smime-type", "enveloped-data")).lower() not in ("signed-data", "certs-only")


def _payload(part: Message) -> bytes:
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _text(content: bytes, charset: str | None) -> str:
    return clean(content.decode(text_encoding(content, charset) or "latin-1", "replace"))


def _header(message: Message, name: str) -> str:
    values = (str(value) for key, value in message.raw_items() if key.lower() == name.lower())
    return ", ".join(filter(None, (one_line(_decoded(value), _MAX_HEADER_CHARACTERS) for value in values)))


def _decoded(value: str) -> str:
    """Decode the encoded words of RFC 2047, and bytes beyond ASCII that should have been one."""
    value = value[:_MAX_HEADER_CHARACTERS]
    if _SURROGATE.search(value):
        value = _text(value.encode("utf-8", "surrogateescape"), None)
    return _ENCODED_WORDS.sub(_words, value)


def _words(match: re.Match[str]) -> str:
    """Decode neighbouring words together: some mailers cut them in the middle of a character."""
    words = _ENCODED_WORD.findall(match.group())
    try:
        runs = [(charset, b"".join(_raw(*word[1:]) for word in run)) for charset, run in groupby(words, itemgetter(0))]
    except ValueError:
        return match.group()
    return "".join(_text(content, charset) for charset, content in runs)


def _raw(encoding: str, content: str) -> bytes:
    return a2b_base64(content + "==") if encoding in "bB" else decodestring(content.encode(), header=True)
