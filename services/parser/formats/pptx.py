"""Presentations (.pptx, .pptm, .ppsx, .potx): a slide is a page, its title a heading; notes follow their slide.

Slides that are hidden from the show are read too: they hold what the speaker has in reserve.
"""

import re
from collections.abc import Iterator
from typing import Final

from services.parser.document import Block, Extracted, Heading, Section, Source
from services.parser.formats import drawingml, tables, xml
from services.parser.formats.ooxml import Package
from services.parser.formats.titles import titled
from services.parser.formats.xml import Element

_TITLES: Final = ("title", "ctrTitle")
_LISTS: Final = ("body", "obj", "")
# Slide numbers and dates; on notes pages also the picture of the slide.
_SKIPPED: Final = ("sldNum", "dt", "sldImg", "hdr")
_SLIDE: Final = re.compile(r"ppt/slides/slide(\d+)\.xml", re.I)
_MAX_INDENT: Final = 8


def extract(source: Source) -> Extracted:
    """Read a presentation; its title is among its properties, else it is that of the first slide."""
    package = Package(source.content, "ppt/presentation.xml")
    return titled(package.title, _blocks(package))


def _blocks(package: Package) -> Iterator[Block]:
    for number, part in enumerate(_slides(package), 1):
        root = package.tree(part)
        title, sections = "", list[Section]()
        for shape in _shapes(root):
            if _placeholder(shape) in _TITLES and not title:
                title = " ".join(drawingml.paragraphs(shape))
            else:
                sections += _shape_sections(package, part, shape, number)
        sections += _beside(package, part, number)
        if title or sections:
            # Without a heading of its own, a slide would stand under that of the slide before.
            yield Heading(1, title or f"Slide {number}", number)
            yield from sections


def _slides(package: Package) -> list[str]:
    """Return the slides in the order of the show; where that is lost, in that of their names."""
    ids = xml.named(package.tree(package.main), "sldId")
    shown = [part for one in ids if (part := package.target(package.main, _link_id(one)))]
    named = {int(match.group(1)): name for name in package.names if (match := _SLIDE.fullmatch(name.lstrip("/")))}
    return list(dict.fromkeys(shown)) or [named[number] for number in sorted(named)]


def _link_id(slide_id: Element) -> str | None:
    """Return the one of two attributes `id` that has a namespace."""
    return next((str(value) for key, value in slide_id.items() if str(key).endswith("}id")), None)


def _shapes(element: Element | None) -> Iterator[Element]:
    """Yield the shapes and frames of a slide, those in groups too."""
    for child in () if element is None else element:
        match xml.name(child):
            case "sp" | "cxnSp" | "graphicFrame" | "pic":
                yield child
            case "AlternateContent":
                yield from _shapes(child[0] if len(child) else None)
            case "cSld" | "spTree" | "grpSp" | "Choice":
                yield from _shapes(child)


def _placeholder(shape: Element) -> str | None:
    """Return what the shape is for in the layout, None when it is not from the layout."""
    for properties in ("nvSpPr", "nvGraphicFramePr"):
        place = xml.find(shape, properties, "nvPr", "ph")
        if place is not None:
            return place.get("type") or ""
    return None


def _shape_sections(package: Package, part: str, shape: Element, page: int) -> Iterator[Section]:
    kind = _placeholder(shape)
    if kind in _SKIPPED:
        return
    for table in xml.named(shape, "tbl"):
        yield from tables.sections(drawingml.table_rows(table), page)
    yield from drawingml.graphic_sections(package, part, shape, page)
    body = xml.find(shape, "txBody")
    lines = drawingml.paragraphs(body)
    if kind in _LISTS and len(lines) > 1:
        yield Section("\n".join(_items(body)), "list", page=page)
    elif lines:
        yield Section("\n".join(lines), page=page)


def _items(body: Element | None) -> Iterator[str]:
    for paragraph in xml.named(body, "p"):
        text = drawingml.paragraph_text(paragraph)
        level = xml.integer(xml.attribute(xml.find(paragraph, "pPr"), "lvl")) or 0
        indent = "  " * min(level, _MAX_INDENT)
        if text:
            yield f"{indent}- " + text.replace("\n", f"\n{indent}  ")


def _beside(package: Package, part: str, page: int) -> Iterator[Section]:
    """Yield the notes and comments of a slide."""
    for notes in package.related(part, "notesSlide"):
        for shape in _shapes(package.tree(notes)):
            text = "\n".join(drawingml.paragraphs(xml.find(shape, "txBody")))
            if text and _placeholder(shape) not in _SKIPPED:
                yield Section(text, page=page)
    for comments in package.related(part, "comments"):
        for comment in xml.named(package.tree(comments), "text", "txBody"):
            text = comment.text or "" if xml.name(comment) == "text" else "\n".join(drawingml.paragraphs(comment))
            if text.strip():
                yield Section(f"Comment: {text}", page=page)
