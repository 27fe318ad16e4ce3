"""Legacy presentations (.ppt, .pps, .pot): slides as they were saved last, in the order of the show, with their notes.

Structures and names from [MS-PPT]: user edits and the persist object directory (2.3), slide lists (2.4.14), text (2.9).
A presentation keeps what it was before each save; only what the last directory points to is read.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from services.parser.document import Block, Extracted, Heading, Section, Source
from services.parser.errors import ExtractionError
from services.parser.formats.ole import encrypted, streams
from services.parser.formats.titles import titled

_STREAMS: Final = ("Current User", "PowerPoint Document")
_ENCRYPTED_TOKEN: Final = 0xF3D1C4DF
_HEADER: Final = struct.Struct("<HHI")
_CONTAINER: Final = 0xF
_USER_EDIT, _DIRECTORY = 0x0FF5, 0x1772
_SLIDE_LIST, _SLIDE_PLACE = 0x0FF0, 0x03F3
_TEXT_KIND, _WIDE_TEXT, _NARROW_TEXT = 0x0F9F, 0x0FA0, 0x0FA8
_CODECS: Final = {_WIDE_TEXT: "utf-16-le", _NARROW_TEXT: "latin-1"}
_SLIDES, _NOTES = 0, 2
_TITLES: Final = (0, 6)
_MAX_SAVES: Final = 10_000
_MAX_DEPTH: Final = 50
_LINE_ENDS: Final = str.maketrans({"\r": "\n", "\x0b": "\n"})
# Placeholders of master slides.
_FIELD: Final = "*"


@dataclass(frozen=True, slots=True)
class _Record:
    kind: int
    instance: int
    is_container: bool
    body: bytes


@dataclass(slots=True)
class _Slide:
    """A slide in the list: where its record is, its id, and the texts of its placeholders with their kinds."""

    reference: int
    slide_id: int
    texts: list[tuple[int, str]]


def extract(source: Source) -> Extracted:
    """Read a presentation of PowerPoint 97 to 2003; raises ExtractionError `encrypted` or `corrupt`."""
    parts = streams(source.content, *_STREAMS)
    user, document = (parts.get(name, b"") for name in _STREAMS)
    try:
        if struct.unpack_from("<I", user, 12)[0] == _ENCRYPTED_TOKEN:
            raise encrypted()
        directory, root = _directory(document, struct.unpack_from("<I", user, 16)[0])
        slides = list(_slide_list(document, directory, root, _SLIDES))
        notes = list(_slide_list(document, directory, root, _NOTES))
    except struct.error as error:
        raise ExtractionError("corrupt", f"The presentation is damaged ({error}). Save it again as .pptx.") from error
    return titled(None, _blocks(document, directory, slides, notes))


def _directory(document: bytes, edit: int) -> tuple[dict[int, int], int]:
    """Return where each object lies, by its number, and the number of the document itself."""
    places: dict[int, int] = {}
    root = 0
    for _ in range(_MAX_SAVES):
        record = _record(document, edit)
        if record is None or record.kind != _USER_EDIT:
            break
        edit, directory, document_number = struct.unpack_from("<III", record.body, 8)
        root = root or document_number
        for number, place in _directory_entries(_record(document, directory)):
            places.setdefault(number, place)
        if edit == 0:
            break
    return places, root


def _directory_entries(record: _Record | None) -> Iterator[tuple[int, int]]:
    position = 0
    while record and record.kind == _DIRECTORY and position + 4 <= len(record.body):
        (head,) = struct.unpack_from("<I", record.body, position)
        first, count = head & 0xFFFFF, min(head >> 20, (len(record.body) - position - 4) // 4)
        places = struct.unpack_from(f"<{count}I", record.body, position + 4)
        yield from enumerate(places, first)
        position += 4 + 4 * (head >> 20)


def _slide_list(document: bytes, directory: dict[int, int], root: int, instance: int) -> Iterator[_Slide]:
    container = _record(document, directory.get(root, -1))
    lists = (one for one in _children(container) if one.kind == _SLIDE_LIST and one.instance == instance)
    slide, kind = _Slide(0, 0, []), 0
    for record in (record for one in lists for record in _children(one)):
        if record.kind == _SLIDE_PLACE:
            reference, slide_id = struct.unpack_from("<I8xI", record.body)
            slide = _Slide(reference, slide_id, [])
            yield slide
        elif record.kind == _TEXT_KIND:
            kind = _text_kind(record)
        elif record.kind in _CODECS:
            slide.texts.append((kind, _decoded(record)))


def _blocks(document: bytes, directory: dict[int, int], slides: list[_Slide], notes: list[_Slide]) -> Iterator[Block]:
    notes_of = {_notes_target(_record(document, directory.get(note.reference, -1))): note for note in notes}
    for number, slide in enumerate(slides, 1):
        own = [*slide.texts, *_texts(_record(document, directory.get(slide.reference, -1)))]
        title = next((" ".join(text.split()) for kind, text in own if kind in _TITLES), "")
        note = notes_of.get(slide.slide_id)
        beside = _texts(_record(document, directory.get(note.reference, -1))) if note else ()
        texts = [text for kind, text in (*own, *beside) if text not in ("", _FIELD) and kind not in _TITLES]
        if title or texts:
            # Without a heading of its own, a slide would stand under that of the slide before.
            yield Heading(1, title or f"Slide {number}", number)
            yield from (Section(text, page=number) for text in texts)


def _notes_target(notes: _Record | None) -> int:
    """Return the id of the slide that notes belong to."""
    atom = next(_children(notes), None)
    return int.from_bytes(atom.body[:4], "little") if atom else 0


def _texts(record: _Record | None, depth: int = 0) -> Iterator[tuple[int, str]]:
    """Yield the texts in the shapes of a slide with their kinds; those of placeholders may stand in the list only."""
    kind = -1
    for child in _children(record):
        if child.kind == _TEXT_KIND:
            kind = _text_kind(child)
        elif child.kind in _CODECS:
            yield kind, _decoded(child)
        elif child.is_container and depth < _MAX_DEPTH:
            yield from _texts(child, depth + 1)


def _text_kind(record: _Record) -> int:
    return int.from_bytes(record.body[:4], "little")


def _decoded(record: _Record) -> str:
    return record.body.decode(_CODECS[record.kind], "replace").translate(_LINE_ENDS).strip()


def _record(data: bytes, offset: int) -> _Record | None:
    if not 0 <= offset <= len(data) - _HEADER.size:
        return None
    head, kind, size = _HEADER.unpack_from(data, offset)
    start = offset + _HEADER.size
    return _Record(kind, head >> 4, head & 0xF == _CONTAINER, data[start : start + size])


def _children(record: _Record | None) -> Iterator[_Record]:
    position = 0
    while record and (child := _record(record.body, position)):
        yield child
        position += _HEADER.size + len(child.body)
