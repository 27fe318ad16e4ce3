"""XML as a stream of starts, text and ends, read leniently and without anything from outside.

No document type declaration reaches the parser: what entities stand for is read here, and only when it is plain text.
An entity of entities, which is what a bomb is made of, stands for a blank.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from html import unescape
from typing import Any, Final, Literal, NamedTuple
from xml.sax.saxutils import escape  # nosec B406: writes text, parses none

from lxml import etree

_PIECE_CHARACTERS: Final = 64 << 10
_DECLARATION: Final = re.compile(r"<\?xml[^>]*\?>")
# Entities may hold brackets in quotes, so the end is the first bracket that closes the whole declaration.
_DOCTYPE: Final = re.compile(r"<!DOCTYPE[^\[>]*(?:\[(.*?)\]\s*)?>", re.S)
_ENTITY: Final = re.compile(
    r"<!ENTITY\s+([\w.:-]+)\s+([\"'])((?:(?!\2)[^<&%]|&(?:amp|apos|gt|lt|quot|#\w+);){0,200})\2\s*>"
)
_REFERENCE: Final = re.compile(r"&([A-Za-z_][\w.:-]{0,60});")
_PREDEFINED: Final = frozenset({"amp", "apos", "gt", "lt", "quot"})


class XmlEvent(NamedTuple):
    """`name` is local, without its namespace; attributes in a namespace are left out.

    A tuple, because large files have millions, and a frozen dataclass takes four times as long to make.
    """

    kind: Literal["start", "text", "end"]
    name: str = ""
    text: str = ""
    attributes: Mapping[str, str] | None = None


def events(text: str) -> Iterator[XmlEvent]:
    """Yield what the XML holds; of damaged XML what can be told."""
    collected: list[XmlEvent] = []
    # The XML is UTF-8 by now, whatever its declaration says.
    target: Any = _Target(collected)
    parser = etree.XMLParser(
        target=target, encoding="utf-8", recover=True, no_network=True, load_dtd=False, resolve_entities=False
    )
    body = _without_doctype(text)
    with suppress(etree.XMLSyntaxError):
        for start in range(0, len(body), _PIECE_CHARACTERS):
            parser.feed(body[start : start + _PIECE_CHARACTERS].encode("utf-8", "replace"))
            yield from collected
            collected.clear()
        parser.close()
    yield from collected


class _Target:
    """What lxml calls while it parses."""

    def __init__(self, collected: list[XmlEvent]) -> None:
        self._collected = collected

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        plain = {name: value for name, value in attributes.items() if "{" not in name} if attributes else None
        self._collected.append(XmlEvent("start", _local(tag), "", plain))

    def data(self, text: str) -> None:
        self._collected.append(XmlEvent("text", "", text))

    def end(self, tag: str) -> None:
        self._collected.append(XmlEvent("end", _local(tag)))

    def close(self) -> None:
        """End; there is no tree to return."""


@lru_cache(maxsize=4096)
def _local(tag: str) -> str:
    return tag.rpartition("}")[2].rpartition(":")[2]


def _without_doctype(text: str) -> str:
    text = text.lstrip()
    declaration = _DECLARATION.match(text)
    text = text[declaration.end() :].lstrip() if declaration else text
    doctype = _DOCTYPE.match(text, max(0, text.find("<!DOCTYPE")))
    subset = (doctype.group(1) or "") if doctype else ""
    entities = {name: unescape(value) for name, _, value in _ENTITY.findall(subset)}
    if doctype:
        text = text[: doctype.start()] + text[doctype.end() :]
    # References first: what one leaves behind must not make a declaration, or another reference, of its neighbours.
    text = _REFERENCE.sub(lambda match: _replacement(match.group(1), entities), text)
    return text.replace("<!DOCTYPE", "&lt;!DOCTYPE")


def _replacement(name: str, entities: Mapping[str, str]) -> str:
    """Return what an entity stands for, as XML text; those of HTML are used without being declared."""
    if name in _PREDEFINED:
        return f"&{name};"
    known = entities[name] if name in entities else unescape(f"&{name};")
    return " " if known == f"&{name};" else escape(known)
