"""XML as office formats and e-books use it: read leniently, without entities, DTDs or anything from outside.

libxml2's own limits stay on (256 levels, 10 MB in one piece of text): they stop bombs, and no honest part comes near.
Elements are told by their local names, because the two editions of Office Open XML differ in their namespaces only.
"""

from collections.abc import Collection, Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final

from lxml import etree

from services.parser.errors import ExtractionError
from services.parser.formats.archive import MemberStream

Element = etree._Element

_MAX_DIGITS: Final = 9

_SAFE: Final[dict[str, Any]] = {
    "resolve_entities": False,
    "load_dtd": False,
    "no_network": True,
    "huge_tree": False,
    "recover": True,
    "remove_comments": True,
    "remove_pis": True,
}


def parse(content: bytes | None) -> Element | None:
    """Return the root element; of damaged XML what can be told, None when that is nothing."""
    if not content:
        return None
    try:
        root: Element | None = etree.fromstring(content, etree.XMLParser(**_SAFE))
    except etree.XMLSyntaxError:
        return None
    return root


def stream(file: MemberStream, containers: Collection[str]) -> Iterator[Element]:
    """Yield in order the outermost elements that are none of the `containers` (local names), each freed behind its use.

    Raises ExtractionError `corrupt` when there is no XML at all.
    """
    inside: Element | None = None
    events = etree.iterparse(file, events=("start", "end"), **_SAFE)
    # Even lenient reading raises at the very end of some damaged files; what came before it has been yielded.
    with suppress(etree.XMLSyntaxError):
        for event, element in events:
            if inside is None and event == "start" and name(element) not in containers:
                inside = element
            elif inside is not None and event == "end" and inside is element:
                yield inside
                inside = None
            if inside is None and event == "end":
                _free(element)
    if events.root is None:
        raise ExtractionError("corrupt", "The file is damaged: a part that must be XML is not. Export it again.")


def name(element: Element) -> str:
    """Return the element's name without its namespace; an entity that was left alone has none."""
    return _local(element.tag) if isinstance(element.tag, str) else ""


def attribute(element: Element | None, wanted: str) -> str | None:
    """Return the attribute of that name in whatever namespace."""
    found = () if element is None else element.items()
    return next((str(value) for key, value in found if _local(str(key)) == wanted), None)


def integer(text: str | None) -> int | None:
    """Return the number that an attribute holds, None when it is none or absurdly long."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else None


def find(element: Element | None, *path: str) -> Element | None:
    """Return the first element at that path of names, counted from the children of `element`."""
    for step in path:
        element = None if element is None else next((child for child in element if name(child) == step), None)
    return element


def named(element: Element | None, *names: str) -> Iterator[Element]:
    """Yield the elements of these names anywhere in `element`, in order."""
    if element is not None:
        yield from element.iter(*(f"{{*}}{one}" for one in names))


def _free(element: Element) -> None:
    element.clear()
    parent = element.getparent()
    while parent is not None and parent[0] is not element:
        del parent[0]


@lru_cache(maxsize=4096)
def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
