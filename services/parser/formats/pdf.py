"""PDF: the text layer, page by page; a page that is only a picture has none.

PDFium reads the file; what it does not tell is made of where the letters stand (pdf_lines, pdf_paragraphs,
pdf_headings).
"""

import re
from collections.abc import Iterator
from contextlib import closing
from typing import Final

import pypdfium2.raw as pdfium
from pypdfium2 import PdfDocument, PdfiumError, PdfPage

from services.parser.document import Block, Extracted, Source
from services.parser.errors import ExtractionError
from services.parser.formats.pdf_headings import Headings, outline_of
from services.parser.formats.pdf_lines import PageText
from services.parser.formats.pdf_paragraphs import Paragraph, paragraphs
from services.parser.formats.pdf_repair import repaired

_LOCKED: Final = frozenset({pdfium.FPDF_ERR_PASSWORD, pdfium.FPDF_ERR_SECURITY})
_WRITING: Final = frozenset({pdfium.FPDF_ANNOT_WIDGET, pdfium.FPDF_ANNOT_FREETEXT, pdfium.FPDF_ANNOT_STAMP})
_NO_ANNOTATION: Final = 0
_MAX_ANNOTATIONS: Final = 10_000
# A file is damaged when none of its first pages opens.
_TRIED_PAGES: Final = 3
# Files claim any number of pages; so many in a row that do not open are not there.
_MAX_MISSING_PAGES: Final = 1_000
_DAMAGED: Final = "The PDF is damaged: no page with text can be found in it. Export it again."
# What programs put there when nobody gave a title.
_NO_TITLE: Final = re.compile(
    r"(?:untitled|unnamed|unknown|anonymous|title|document|presentation|slides?|powerpoint|spreadsheet|\W|\d)*$"
    r"|microsoft (?:word|powerpoint|excel) - |.*[\\/]|.*\.(?:\w{2,4}|indd|pages)$",
    re.I,
)


def extract(source: Source) -> Extracted:
    """Read a PDF; its title is the one in its properties, unless a program made it up.

    Raises ExtractionError: `encrypted` where a password is needed, `corrupt` where no page can be read.
    """
    whole = _opened(source.content)
    if whole and _has_pages(whole):
        return Extracted(_title(whole), _document_blocks(whole, damaged=False))
    rest = repaired(source.content)
    mended = _opened(rest) if rest else None
    if not mended:
        raise ExtractionError("corrupt", _DAMAGED)
    return Extracted(_title(mended), _document_blocks(mended, damaged=True))


def _opened(content: bytes) -> PdfDocument | None:
    try:
        document = PdfDocument(content)
    except PdfiumError as error:
        if error.err_code in _LOCKED:
            message = "The PDF is protected by a password. Remove the password and send it again."
            raise ExtractionError("encrypted", message) from None
        return None
    if document.get_formtype() == pdfium.FORMTYPE_ACRO_FORM:
        document.init_forms()
    return document


def _has_pages(document: PdfDocument) -> bool:
    return any(_opens(document, index) for index in range(min(len(document), _TRIED_PAGES)))


def _opens(document: PdfDocument, index: int) -> bool:
    try:
        document[index].close()
    except PdfiumError:
        return False
    return True


def _title(document: PdfDocument) -> str | None:
    try:
        title = " ".join(document.get_metadata_value("Title").split())
    except UnicodeDecodeError:
        return None
    return None if _NO_TITLE.match(title) else title


def _document_blocks(document: PdfDocument, *, damaged: bool) -> Iterator[Block]:
    empty, missing = True, 0
    with closing(document):
        headings = Headings(outline_of(document))
        for index in range(len(document)):
            try:
                page = _paragraphs(document, index)
            except PdfiumError:
                damaged, missing = True, missing + 1
                if missing == _MAX_MISSING_PAGES:
                    break
                continue
            empty, missing = empty and not page, 0
            yield from headings.blocks(index, page)
    if empty and damaged:
        raise ExtractionError("corrupt", _DAMAGED)


def _paragraphs(document: PdfDocument, index: int) -> list[Paragraph]:
    with closing(document[index]) as page:
        if not _has_writing_on_top(page):
            return _read(page)
        pdfium.FPDFPage_Flatten(page, pdfium.FLAT_NORMALDISPLAY)
    # What was filled into a form, or typed over the page, is part of the page that is loaded next.
    with closing(document[index]) as page:
        return _read(page)


def _read(page: PdfPage) -> list[Paragraph]:
    with closing(page.get_textpage()) as text:
        return list(paragraphs(PageText(text.raw).lines()))


def _has_writing_on_top(page: PdfPage) -> bool:
    numbers = range(min(pdfium.FPDFPage_GetAnnotCount(page), _MAX_ANNOTATIONS))
    return any(_annotation_type(page, number) in _WRITING for number in numbers)


def _annotation_type(page: PdfPage, number: int) -> int:
    annotation = pdfium.FPDFPage_GetAnnot(page, number)
    if not annotation:
        return _NO_ANNOTATION
    subtype: int = pdfium.FPDFAnnot_GetSubtype(annotation)
    pdfium.FPDFPage_CloseAnnot(annotation)
    return subtype
