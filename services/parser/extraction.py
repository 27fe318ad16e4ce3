"""The formats the parser reads: one row per media type, one module per format in `services.parser.formats`."""

from collections.abc import Callable, Iterable, Iterator, Mapping
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

# The function is imported on first use: a process that reads only text never loads what reads PDF.
EXTRACTORS: Final[Mapping[str, str]] = {
    "text/plain": "services.parser.formats.text:extract",
    "text/markdown": "services.parser.formats.markdown:extract",
    "text/html": "services.parser.formats.html:extract",
    "application/pdf": "services.parser.formats.pdf:extract",
}


def open_document(
    content: bytes,
    media_type: str | None = None,
    filename: str | None = None,
    extractors: Mapping[str, str] = EXTRACTORS,
) -> Document:
    """Recognise the content and open it; `media_type` and `filename` are what the sender says it is.

    Raises ExtractionError: `unsupported_type` when no extractor reads it, `encrypted`, `corrupt`.
    """
    source = detect(content, media_type, filename, extractors)
    if source.media_type not in extractors:
        raise ExtractionError("unsupported_type", _refusal(source, extractors))
    extracted = load_extractor(extractors[source.media_type])(source)
    title = one_line(extracted.title or "", MAX_TITLE_CHARACTERS) or None
    return Document(source.media_type, title, _readable(extracted.blocks))


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
