"""What is this content? The bytes have the first word, then the declared media type, then the file name."""

import re
from collections.abc import Container
from io import BytesIO
from pathlib import PurePath
from typing import Final
from zipfile import BadZipFile, ZipFile
from zlib import error as ZlibError

from olefile import OleFileIO
from olefile.olefile import OleFileError

from services.parser.document import Source
from services.parser.errors import ExtractionError
from services.parser.text_encoding import text_encoding
from services.parser.text_sniffing import is_json, is_notebook, is_transported_mail, is_written_mail, is_xml

BINARY: Final = "application/octet-stream"
PLAIN_TEXT: Final = "text/plain"
MAIL: Final = "message/rfc822"
JSON: Final = "application/json"
NOTEBOOK: Final = "application/x-ipynb+json"
XML: Final = "application/xml"
_OFFICE_OPEN: Final = "application/vnd.openxmlformats-officedocument."
_GENERIC: Final = frozenset({BINARY, PLAIN_TEXT, "application/x-www-form-urlencoded", "binary/octet-stream"})

_SIGNATURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"{\\rtf", "application/rtf"),
    (b"\x1f\x8b", "application/gzip"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"Rar!\x1a\x07", "application/vnd.rar"),
    (b"\x7fELF", "application/x-elf"),
    (b"SQLite format 3\0", "application/vnd.sqlite3"),
)
# What the content types of an Office Open XML package call its main part, macros and templates included.
_MAIN_PARTS: Final = (
    (re.compile(rb"(?:wordprocessingml|ms-word)[.\w]*\.main\+xml"), _OFFICE_OPEN + "wordprocessingml.document"),
    (re.compile(rb"(?:spreadsheetml|ms-excel)[.\w]*\.main\+xml"), _OFFICE_OPEN + "spreadsheetml.sheet"),
    (re.compile(rb"(?:presentationml|ms-powerpoint)[.\w]*\.main\+xml"), _OFFICE_OPEN + "presentationml.presentation"),
    (re.compile(rb"ms-excel\.sheet\.binary[.\w]*\.main"), "application/vnd.ms-excel.sheet.binary.macroenabled.12"),
)
_MAX_CONTENT_TYPES_BYTES: Final = 4 << 20
_ZIP_MEMBERS: Final = (
    ("word/", _OFFICE_OPEN + "wordprocessingml.document"),
    ("xl/", _OFFICE_OPEN + "spreadsheetml.sheet"),
    ("ppt/", _OFFICE_OPEN + "presentationml.presentation"),
)
_OPEN_DOCUMENT_VARIANT: Final = re.compile(r"(application/vnd\.oasis\.opendocument\.\w+)-(?:template|master|web)$")
_ZIP_ENTRY: Final = re.compile(rb"PK\x03\x04.{26}([ -~]{1,100})", re.S)
# Names of streams at the top of an OLE2 directory, which stores them as UTF-16.
_OLE_STREAMS: Final = (
    ("WordDocument", "application/msword"),
    ("Workbook", "application/vnd.ms-excel"),
    ("Book", "application/vnd.ms-excel"),
    ("PowerPoint Document", "application/vnd.ms-powerpoint"),
    ("__substg1.0_", "application/vnd.ms-outlook"),
)
_EXTENSIONS: Final = {
    **dict.fromkeys((".md", ".markdown", ".mdown", ".mkd", ".mdx"), "text/markdown"),
    **dict.fromkeys((".html", ".htm", ".xhtml"), "text/html"),
    **dict.fromkeys((".csv",), "text/csv"),
    **dict.fromkeys((".tsv", ".tab"), "text/tab-separated-values"),
    **dict.fromkeys((".rst", ".rest"), "text/x-rst"),
    **dict.fromkeys((".org",), "text/x-org"),
    **dict.fromkeys((".eml", ".mht", ".mhtml"), MAIL),
    **dict.fromkeys((".ipynb",), NOTEBOOK),
    **dict.fromkeys((".xml", ".xsd", ".xsl", ".rss", ".atom"), XML),
    **dict.fromkeys((".json", ".jsonl", ".ndjson", ".geojson"), JSON),
}
_ALIASES: Final = {
    "text/x-markdown": "text/markdown",
    "application/xhtml+xml": "text/html",
    "text/xml": XML,
    "text/json": JSON,
    **dict.fromkeys(("application/x-ndjson", "application/jsonl", "application/json-lines"), JSON),
    **dict.fromkeys((NOTEBOOK, "application/vnd.jupyter"), NOTEBOOK),
    "text/tsv": "text/tab-separated-values",
    "message/rfc2822": MAIL,
    "multipart/related": MAIL,
    "text/rtf": "application/rtf",
    "application/csv": "text/csv",
    "text/org": "text/x-org",
    "text/prs.fallenstein.rst": "text/x-rst",
}
_STRUCTURED: Final = re.compile(r"(?:application|image|model)/[\w.-]+\+(json|xml)$")
# Textual types that read well as plain text while they have no extractor of their own.
_READS_AS_PLAIN: Final = re.compile(r"text/|application/(?:json|x-ndjson|(?:x-)?yaml|toml|x-sh|javascript)$")
# Atomic: a comment that may end at any of the ends that follow doubles the work with each.
_HTML_START: Final = re.compile(r"(?>\s|<\?xml[^>]*\?>|<!--.*?-->)*+<(?:!doctype\s+html|html[\s>])", re.I | re.S)
# The tags by which browsers, too, take unlabelled text for HTML.
_HTML_FRAGMENT: Final = re.compile(
    r"\s*<(?:a|article|b|body|br|div|font|h[1-6]|head|iframe|main|ol|p|script|section|span|style|table|title|ul)[\s>]",
    re.I,
)
_XML_START: Final = re.compile(r"\s*<\?xml\s")
_SNIFFED_CHARACTERS: Final = 4096


def detect(content: bytes, declared: str | None, filename: str | None, known: Container[str]) -> Source:
    """Return the content with its media type and, for text, the codec that reads it.

    `known` are the types with an extractor: a textual type outside of it becomes text/plain where that reads well.
    Raises ExtractionError `encrypted` for office files under a password.
    """
    media_type, charset = _parse(declared)
    binary = _binary_type(content)
    if binary:
        return Source(content, binary, None, filename)
    encoding = text_encoding(content, charset)
    if encoding is None:
        return Source(content, _untextual_type(content), None, filename)
    beginning = content[: _SNIFFED_CHARACTERS * 4].decode(encoding, "replace")[:_SNIFFED_CHARACTERS]
    cut = len(content) > _SNIFFED_CHARACTERS * 4 or len(beginning) == _SNIFFED_CHARACTERS
    found = _content_type(content, beginning, _candidate(media_type, filename), cut=cut)
    found = found or _textual_type(beginning, media_type, filename)
    readable = found if found in known or not _READS_AS_PLAIN.match(found) else PLAIN_TEXT
    return Source(content, readable, encoding, filename)


def _parse(declared: str | None) -> tuple[str | None, str | None]:
    name, _, parameters = (declared or "").partition(";")
    media_type = name.strip().lower()
    structured = _STRUCTURED.match(media_type)
    media_type = _ALIASES.get(media_type) or (f"application/{structured.group(1)}" if structured else media_type)
    charset = re.search(r"charset\s*=\s*[\"']?([\w.:-]+)", parameters, re.I)
    return media_type or None, charset.group(1) if charset else None


def _binary_type(content: bytes) -> str | None:
    if b"%PDF-" in content[:1024]:
        return "application/pdf"
    if content.startswith(b"PK\x03\x04"):
        return _zip_type(content)
    if content.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return _ole_type(content)
    # Mail programs and editors set blanks and a byte order mark in front of RTF.
    beginning = content[:64].removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((media_type for mark, media_type in _SIGNATURES if beginning.startswith(mark)), None)


def _zip_type(content: bytes) -> str:
    try:
        with ZipFile(BytesIO(content)) as archive:
            names = archive.namelist()
            # EPUB and OpenDocument name themselves in a member that is stored without compression.
            if "mimetype" in names and archive.getinfo("mimetype").file_size < 100:
                named = archive.read("mimetype").decode("ascii", "replace").strip()
                return _OPEN_DOCUMENT_VARIANT.sub(r"\1", named)
            main = _main_part(archive)
    except (BadZipFile, ZlibError, EOFError, NotImplementedError, RuntimeError, OSError, ValueError):
        # A damaged container is still one of its kind, which its extractor then says better.
        main, names = None, [entry.group(1).decode("ascii") for entry in _ZIP_ENTRY.finditer(content)]
    if main:
        return main
    folders = ((folder, kind) for folder, kind in _ZIP_MEMBERS if any(name.startswith(folder) for name in names))
    return next((kind for _, kind in folders), "application/zip")


def _main_part(archive: ZipFile) -> str | None:
    name = next((name for name in archive.namelist() if name.lower() == "[content_types].xml"), None)
    if name is None or archive.getinfo(name).file_size > _MAX_CONTENT_TYPES_BYTES:
        return None
    with archive.open(name) as file:
        types = file.read(_MAX_CONTENT_TYPES_BYTES)
    return next((media_type for part, media_type in _MAIN_PARTS if part.search(types)), None)


def _ole_type(content: bytes) -> str:
    names = _ole_names(content)
    if "EncryptedPackage" in names:
        raise ExtractionError(
            "encrypted", "The file is protected by a password. Remove the password and send it again."
        )
    found = (media_type for name, media_type in _OLE_STREAMS if any(one.startswith(name) for one in names))
    return next(found, "application/x-ole-storage")


def _ole_names(content: bytes) -> list[str]:
    """Return what lies at the top of the container; of a damaged one, what is written anywhere in it."""
    try:
        with OleFileIO(BytesIO(content)) as file:
            return [path[0] for path in file.listdir(streams=True, storages=True) if len(path) == 1]
    except (OleFileError, OSError, ValueError, IndexError):
        names = ("EncryptedPackage", *(name for name, _ in _OLE_STREAMS))
        return [name for name in names if name.encode("utf-16-le") in content]


def _untextual_type(content: bytes) -> str:
    """Mail may carry attachments as they are, and its parser takes bytes."""
    beginning = content[:_SNIFFED_CHARACTERS].decode("latin-1")
    return MAIL if is_transported_mail(beginning) or is_written_mail(beginning) else BINARY


def _content_type(content: bytes, beginning: str, candidate: str | None, *, cut: bool) -> str | None:
    """Return what the text is whatever it is called, or None when its name has to say."""
    if _HTML_START.match(beginning):
        return "text/html"
    if _XML_START.match(beginning):
        return XML
    unnamed = candidate is None or candidate in _GENERIC
    if is_transported_mail(beginning) or (unnamed and is_written_mail(beginning)):
        return MAIL
    if is_json(beginning, cut=cut):
        return NOTEBOOK if is_notebook(content) else JSON
    html = not unnamed or _HTML_FRAGMENT.match(beginning)
    return XML if not html and is_xml(beginning, cut=cut) else None


def _candidate(declared: str | None, filename: str | None) -> str | None:
    named = _EXTENSIONS.get(PurePath(filename or "").suffix.lower())
    return named or declared if declared is None or declared in _GENERIC else declared


def _textual_type(beginning: str, declared: str | None, filename: str | None) -> str:
    candidate = _candidate(declared, filename)
    if candidate is None or candidate == BINARY:
        return "text/html" if _HTML_FRAGMENT.match(beginning) and not filename else PLAIN_TEXT
    return PLAIN_TEXT if candidate == XML and "<" not in beginning else candidate
