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
_MAX_ANNOTATIONS: Final = 10_000
# Files claim any number of pages; so many in a row that do not open are not there.
_MAX_MISSING_PAGES: Final = 1_000
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
    document = _opened(source.content)
    return Extracted(_title(document), _document_blocks(document))


def _opened(content: bytes) -> PdfDocument:
    try:
        return _document(content)
    except PdfiumError as error:
        if error.err_code in _LOCKED:
            message = "The PDF is protected by a password. Remove the password and send it again."
            raise ExtractionError("encrypted", message) from None
    mended = repaired(content)
    try:
        if mended:
            return _document(mended)
    except PdfiumError:
        pass
    raise ExtractionError("corrupt", "The PDF is damaged: no page can be found in it. Export it again.")


def _document(content: bytes) -> PdfDocument:
    document = PdfDocument(content)
    if document.get_formtype() == pdfium.FORMTYPE_ACRO_FORM:
        document.init_forms()
    return document


def _title(document: PdfDocument) -> str | None:
    try:
        title = " ".join(document.get_metadata_value("Title").split())
    except UnicodeDecodeError:
        return None
    return None if _NO_TITLE.match(title) else title


def _document_blocks(document: PdfDocument) -> Iterator[Block]:
    with closing(document):
        headings = Headings(outline_of(document))
        missing = read = 0
        for index in range(len(document)):
            try:
                page = _paragraphs(document, index)
                missing, read = 0, read + 1
            except PdfiumError:
                missing += 1
                if missing == _MAX_MISSING_PAGES:
                    break
                continue
            yield from headings.blocks(index, page)
        if not read:
            raise ExtractionError("corrupt", "The PDF is damaged: none of its pages can be read. Export it again.")


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
        return list(paragraphs(PageText(text).lines()))


def _has_writing_on_top(page: PdfPage) -> bool:
    numbers = range(min(pdfium.FPDFPage_GetAnnotCount(page), _MAX_ANNOTATIONS))
    return any(_annotation_type(page, number) in _WRITING for number in numbers)


def _annotation_type(page: PdfPage, number: int) -> int:
    annotation = pdfium.FPDFPage_GetAnnot(page, number)
    if not annotation:
        return pdfium.FPDF_ANNOT_UNKNOWN
    subtype = int(pdfium.FPDFAnnot_GetSubtype(annotation))
    pdfium.FPDFPage_CloseAnnot(annotation)
    return subtype
