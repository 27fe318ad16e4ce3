"""EPUB: the chapters in reading order, each an HTML page of its own.

Chapters are headings and no pages: where a page ends is the reader's business.
"""

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from services.parser.document import Block, Extracted, Heading, Source, clean
from services.parser.errors import ExtractionError
from services.parser.formats import html, xml
from services.parser.formats.archive import Archive
from services.parser.text_encoding import text_encoding

_CONTAINER: Final = "META-INF/container.xml"
_ENCRYPTION: Final = "META-INF/encryption.xml"
_PAGE_ENDINGS: Final = (".xhtml", ".html", ".htm")
_PAGE_TYPES: Final = ("html", "xml", "dtbook")


@dataclass(slots=True)
class _Book:
    """What the package document says; `chapters` are names of members in reading order."""

    title: str | None = None
    chapters: list[str] = field(default_factory=list)
    contents: list[str] = field(default_factory=list)


def extract(source: Source) -> Extracted:
    """Read an e-book; its title is that of the package document.

    Raises ExtractionError: `encrypted` for a chapter under copy protection, `corrupt` without any chapters.
    """
    archive = Archive(source.content)
    book = _book(archive)
    if not book.chapters:
        raise ExtractionError("corrupt", "The e-book names no chapters. Export it again.")
    _refuse_encrypted(archive, book)
    return Extracted(book.title, _blocks(archive, book))


def _book(archive: Archive) -> _Book:
    package_name = _package_name(archive)
    package = xml.parse(archive.read(package_name)) if package_name else None
    if package is None:
        return _Book(chapters=sorted(name for name in archive.names if name.lower().endswith(_PAGE_ENDINGS)))
    items = {xml.attribute(item, "id"): item for item in xml.named(xml.find(package, "manifest"), "item")}
    order = [items.get(xml.attribute(reference, "idref")) for reference in xml.named(package, "itemref")]
    pages = [item for item in order if item is not None and _is_page(item)] or list(filter(_is_page, items.values()))
    title = next(xml.named(xml.find(package, "metadata"), "title"), None)
    contents = [item for item in items.values() if _lists_contents(item)]
    return _Book(
        title="".join(map(str, title.itertext())) if title is not None else None,
        chapters=list(dict.fromkeys(_member(package_name, xml.attribute(item, "href")) for item in pages)),
        contents=[_member(package_name, xml.attribute(item, "href")) for item in contents],
    )


def _package_name(archive: Archive) -> str:
    named = next(xml.named(xml.parse(archive.read(_CONTAINER)), "rootfile"), None)
    path = unquote(xml.attribute(named, "full-path") or "")
    return path if path in archive else next((name for name in archive.names if name.lower().endswith(".opf")), "")


def _is_page(item: xml.Element) -> bool:
    media_type = (xml.attribute(item, "media-type") or "").lower()
    href = (xml.attribute(item, "href") or "").lower()
    page = href.endswith(_PAGE_ENDINGS) or any(part in media_type for part in _PAGE_TYPES)
    return page and "ncx" not in media_type and "svg" not in media_type


def _lists_contents(item: xml.Element) -> bool:
    return "nav" in (xml.attribute(item, "properties") or "").split() or "ncx" in (
        xml.attribute(item, "media-type") or ""
    )


def _member(base: str, reference: str | None) -> str:
    path = unquote((reference or "").partition("#")[0])
    return posixpath.normpath(posixpath.join(posixpath.dirname(base), path))


def _refuse_encrypted(archive: Archive, book: _Book) -> None:
    """Fonts are scrambled in many free books; a scrambled chapter is copy protection."""
    references = xml.named(xml.parse(archive.read(_ENCRYPTION)), "CipherReference")
    if not {_member("", xml.attribute(reference, "URI")) for reference in references}.isdisjoint(book.chapters):
        raise ExtractionError("encrypted", "The e-book is under copy protection (DRM) and can only be read in its app.")


def _blocks(archive: Archive, book: _Book) -> Iterator[Block]:
    labels = {member: label for name in reversed(book.contents) for member, label in _labels(archive, name)}
    for name in book.chapters:
        content = archive.read(name)
        if content is None:
            continue
        found = html.blocks(html.from_xhtml(_text(content)))
        first = next((block for block in found if block.text.strip()), None)
        if first is None:
            continue
        if name in labels and not isinstance(first, Heading):
            yield Heading(1, labels[name])
        yield first
        yield from found


def _text(content: bytes) -> str:
    return clean(content.decode(text_encoding(content) or "utf-8", "replace"))


def _labels(archive: Archive, name: str) -> Iterator[tuple[str, str]]:
    """Yield the entries of a table of contents, those that point into the middle of a chapter left out."""
    root = xml.parse(archive.read(name))
    for link in xml.named(root, "a"):
        yield from _label(name, xml.attribute(link, "href"), link)
    for point in xml.named(root, "navPoint"):
        target = xml.attribute(xml.find(point, "content"), "src")
        yield from _label(name, target, xml.find(point, "navLabel"))


def _label(base: str, reference: str | None, element: xml.Element | None) -> Iterator[tuple[str, str]]:
    text = " ".join("".join(map(str, element.itertext())).split()) if element is not None else ""
    if reference and "#" not in reference and text:
        yield _member(base, reference), text
