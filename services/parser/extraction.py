"""The formats the parser reads: one row per media type, one module per format in `services.parser.formats`."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import PurePath
from typing import Final

from services.parser.document import (
    MAX_HEADING_LEVEL,
    MAX_TITLE_CHARACTERS,
    Block,
    Document,
    Extracted,
    Heading,
    Section,
    Source,
    clean,
    one_line,
    with_heading_paths,
)
from services.parser.errors import ExtractionError
from services.parser.media_types import detect

Extractor = Callable[[Source], Extracted]

_OFFICE_OPEN: Final = "application/vnd.openxmlformats-officedocument."
_OPEN_DOCUMENT: Final = "application/vnd.oasis.opendocument."
# The function is imported on first use: a process that reads only text never loads what reads PDF.
EXTRACTORS: Final[Mapping[str, str]] = {
    "text/plain": "services.parser.formats.text:extract",
    "text/markdown": "services.parser.formats.markdown:extract",
    "text/html": "services.parser.formats.html:extract",
    "application/pdf": "services.parser.formats.pdf:extract",
    "text/csv": "services.parser.formats.csv_table:extract",
    "text/tab-separated-values": "services.parser.formats.csv_table:extract",
    "text/x-rst": "services.parser.formats.rst:extract",
    "text/x-org": "services.parser.formats.org:extract",
    "application/xml": "services.parser.formats.xml_text:extract",
    "application/json": "services.parser.formats.json_text:extract",
    "application/x-ipynb+json": "services.parser.formats.notebook:extract",
    "application/rtf": "services.parser.formats.rtf:extract",
    "application/epub+zip": "services.parser.formats.epub:extract",
    "message/rfc822": "services.parser.formats.mail:extract",
    "application/vnd.ms-outlook": "services.parser.formats.outlook:extract",
    _OFFICE_OPEN + "wordprocessingml.document": "services.parser.formats.docx:extract",
    _OFFICE_OPEN + "presentationml.presentation": "services.parser.formats.pptx:extract",
    _OFFICE_OPEN + "spreadsheetml.sheet": "services.parser.formats.xlsx:extract",
    "application/msword": "services.parser.formats.doc:extract",
    "application/vnd.ms-excel": "services.parser.formats.xls:extract",
    "application/vnd.ms-powerpoint": "services.parser.formats.ppt:extract",
    "application/vnd.ms-excel.sheet.binary.macroenabled.12": "services.parser.formats.xls:extract",
    _OPEN_DOCUMENT + "text": "services.parser.formats.odf:extract",
    _OPEN_DOCUMENT + "spreadsheet": "services.parser.formats.odf:extract",
    _OPEN_DOCUMENT + "presentation": "services.parser.formats.odf:extract",
    _OPEN_DOCUMENT + "graphics": "services.parser.formats.odf:extract",
}
# Mail in mail in mail, and what is attached to that.
MAX_INNER_LEVELS: Final = 4


def open_document(
    content: bytes,
    media_type: str | None = None,
    filename: str | None = None,
    extractors: Mapping[str, str] = EXTRACTORS,
) -> Document:
    """Recognise the content and open it; `media_type` and `filename` are what the sender says it is.

    Raises ExtractionError: `unsupported_type` when no extractor reads it, `encrypted`, `corrupt`.
    """
    source, extracted = _extract(content, media_type, filename, extractors, MAX_INNER_LEVELS)
    title = one_line(extracted.title or "", MAX_TITLE_CHARACTERS) or None
    return Document(source.media_type, title, _readable(extracted.blocks))


def _extract(
    content: bytes, media_type: str | None, filename: str | None, extractors: Mapping[str, str], levels: int
) -> tuple[Source, Extracted]:
    source = detect(content, media_type, filename, extractors)
    if source.media_type not in extractors:
        raise ExtractionError("unsupported_type", _refusal(source, extractors))
    source = replace(source, read_inner=partial(_read_inner, extractors, levels))
    return source, load_extractor(extractors[source.media_type])(source)


def _read_inner(
    extractors: Mapping[str, str], levels: int, content: bytes, media_type: str | None, filename: str | None
) -> Extracted:
    if not levels:
        raise ExtractionError("too_large", f"Documents in documents are read {MAX_INNER_LEVELS} levels deep.")
    return _extract(content, media_type, filename, extractors, levels - 1)[1]


def load_extractor(target: str) -> Extractor:
    """Import the function that `module:function` names."""
    module, _, function = target.partition(":")
    extractor: Extractor = getattr(import_module(module), function)
    return extractor


def _readable(blocks: Iterable[Block]) -> Iterator[Section]:
    empty = True
    for section in with_heading_paths(filter(None, map(_cleaned, blocks))):
        empty = False
        yield section
    if empty:
        raise ExtractionError("no_text", "No text was found in the document. A scanned document needs OCR first.")


def _cleaned(block: Block) -> Block | None:
    if isinstance(block, Section):
        text = clean(block.text).strip("\n").rstrip()
        return Section(text, block.kind, (), block.page) if text.strip() else None
    text = " ".join(clean(block.text).split())
    return Heading(min(block.level, MAX_HEADING_LEVEL), text, block.page) if text else None


def _refusal(source: Source, extractors: Mapping[str, str]) -> str:
    name = f" ({PurePath(source.filename).name[:100]})" if source.filename else ""
    return f"Content of type {source.media_type}{name} cannot be read. Readable types: {', '.join(sorted(extractors))}."
