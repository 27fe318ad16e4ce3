import io
import zipfile

import pytest

from services.parser.errors import ExtractionError
from services.parser.media_types import BINARY, detect
from tests.unit.parser.office_files import ole

KNOWN = {"text/plain", "text/markdown", "text/html", "application/pdf"}
OFFICE = "application/vnd.openxmlformats-officedocument."
OPEN_DOCUMENT = "application/vnd.oasis.opendocument."
BINARY_WORKBOOK = "application/vnd.ms-excel.sheet.binary.macroenabled.12"
MAIN_PARTS = {
    "word": "application/vnd.ms-word.document.macroEnabled.main+xml",
    "excel": "application/vnd.openxmlformats-officedocument.spreadsheetml.template.main+xml",
    "show": "application/vnd.openxmlformats-officedocument.presentationml.slideshow.main+xml",
    "binary": "application/vnd.ms-excel.sheet.binary.macroEnabled.main",
}
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 504
PAGE = b"<!DOCTYPE html><html><body><p>Hello</p></body></html>"


def archive(**members: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, text in members.items():
            file.writestr(name.replace("__", "/"), text)
    return buffer.getvalue()


def found(content: bytes, declared: str | None = None, filename: str | None = None) -> str:
    return detect(content, declared, filename, KNOWN).media_type


@pytest.mark.parametrize(
    ("content", "declared", "filename", "expected"),
    [
        (b"Just words.", None, None, "text/plain"),
        (b"", None, None, "text/plain"),
        (b"# Title", None, "notes.MD", "text/markdown"),
        (b"# Title", "text/markdown; charset=utf-8", None, "text/markdown"),
        (b"# Title", "text/x-markdown", None, "text/markdown"),
        (b"# Title", "text/plain", "notes.md", "text/markdown"),
        (b"# Title", "application/octet-stream", "notes.md", "text/markdown"),
        (b"# Title", "text/markdown", "notes.txt", "text/markdown"),
        (b"<p>Hello</p>", "text/html", None, "text/html"),
        (b"<h1>Hello</h1><p>you</p>", None, None, "text/html"),
        (b"<p align=center>badge</p>\n\n# Title", "text/markdown", None, "text/markdown"),
        (b"<T> means any type", "text/plain", None, "text/plain"),
        (b"a,b\n1,2\n", "text/csv", "table.csv", "text/plain"),
        (b'{"a": 1}', "application/json", None, "text/plain"),
        (b"print('hello')", None, "tool.py", "text/plain"),
        (b"Subject: hello\n\nyou", None, "mail.eml", "message/rfc822"),
        (b"<?xml version='1.0'?><feed/>", "text/plain", "a.txt", "application/xml"),
        (b"<?xml version='1.0'?>\n<!DOCTYPE html PUBLIC ''><html/>", None, None, "text/html"),
    ],
)
def test_text_is_what_it_is_declared_or_named(
    content: bytes, declared: str | None, filename: str | None, expected: str
) -> None:
    assert found(content, declared, filename) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (PAGE, "text/html"),
        (PAGE.decode().encode("utf-16"), "text/html"),
        (b"<!-- saved --> \n" + PAGE, "text/html"),
        (b"%PDF-1.7\n", "application/pdf"),
        (b"\n\n%PDF-1.4\n", "application/pdf"),
        (b"\x89PNG\r\n\x1a\n\0\0", "image/png"),
        (b"{\\rtf1 hello}", "application/rtf"),
        (archive(word__document="x"), OFFICE + "wordprocessingml.document"),
        (archive(xl__workbook="x"), OFFICE + "spreadsheetml.sheet"),
        (archive(ppt__slides="x"), OFFICE + "presentationml.presentation"),
        (archive(doc__text="x", **{"[Content_Types].xml": MAIN_PARTS["word"]}), OFFICE + "wordprocessingml.document"),
        (archive(word__a="x", **{"[content_types].xml": MAIN_PARTS["excel"]}), OFFICE + "spreadsheetml.sheet"),
        (archive(word__a="x", **{"[Content_Types].xml": MAIN_PARTS["show"]}), OFFICE + "presentationml.presentation"),
        (archive(xl__a="x", **{"[Content_Types].xml": MAIN_PARTS["binary"]}), BINARY_WORKBOOK),
        (archive(word__document="x")[:-30], OFFICE + "wordprocessingml.document"),
        (archive(mimetype="application/epub+zip"), "application/epub+zip"),
        (archive(mimetype=OPEN_DOCUMENT + "text"), OPEN_DOCUMENT + "text"),
        (archive(mimetype=OPEN_DOCUMENT + "spreadsheet-template"), OPEN_DOCUMENT + "spreadsheet"),
        (archive(other="x"), "application/zip"),
        (b"PK\x03\x04 broken", "application/zip"),
        (OLE + "WordDocument".encode("utf-16-le"), "application/msword"),
        (OLE + "__substg1.0_".encode("utf-16-le"), "application/vnd.ms-outlook"),
        (OLE, "application/x-ole-storage"),
        (ole({"PowerPoint Document": "Workbook".encode("utf-16-le")}), "application/vnd.ms-powerpoint"),
        (ole({"Book": b"x"}), "application/vnd.ms-excel"),
        (b"\xef\xbb\xbf{\\rtf1 hello}", "application/rtf"),
        (b"\r\n {\\rtf1 hello}", "application/rtf"),
        (b"hello\0world" * 50, BINARY),
        (bytes(range(256)) * 4, BINARY),
    ],
)
def test_content_wins_over_declared_type_and_name(content: bytes, expected: str) -> None:
    assert found(content, "text/markdown", "notes.md") == expected


MAIL = b"From: a@b.example\nTo: c@d.example\nDate: today\nSubject: Plan\n\nHello."
TRANSPORTED = b"Received: from a\n by b\nSubject: Plan\nContent-Type: text/plain\n\nHello."
NOTEBOOK = b'{"cells": [], "metadata": {}, "nbformat": 4}'
ALL = {
    *KNOWN,
    "text/csv",
    "application/json",
    "application/x-ipynb+json",
    "application/xml",
    "text/tab-separated-values",
}


@pytest.mark.parametrize(
    ("content", "declared", "filename", "expected"),
    [
        (MAIL, None, "notes.txt", "message/rfc822"),
        (MAIL.replace(b"\n", b"\r\n"), "text/plain", None, "message/rfc822"),
        (b"From a@b.example Mon Mar 17\n" + TRANSPORTED, None, None, "message/rfc822"),
        (TRANSPORTED, "text/markdown", "notes.md", "message/rfc822"),
        (TRANSPORTED + bytes(range(256)) * 9, None, "notes.bin", "message/rfc822"),
        (TRANSPORTED.decode().encode("utf-16"), None, "notes.txt", "message/rfc822"),
        (MAIL, None, "notes.md", "text/markdown"),
        (b"Subject: hello\n\nyou", None, "notes.txt", "text/plain"),
        (b"From: a\nTo: b\nand some text\nDate: c\nSubject: d\n\nx", None, None, "text/plain"),
        (b'{"a": 1}', None, "notes.txt", "application/json"),
        (b' [{"a": 1}]\n', "text/plain", None, "application/json"),
        (b'{"a": 1}\n{"a": 2}\n', None, None, "application/json"),
        (b'[{"a": "' + b"x" * 9_000 + b'"}]', None, None, "application/json"),
        (b"[" + b'{"a": true}, ' * 9_000 + b"{}]", None, None, "application/json"),
        (b"[" * 9_000, None, None, "application/json"),
        (b'{"a": 1}', "application/vnd.api+json", None, "application/json"),
        (b'{"a": 1}', None, "book.ipynb", "application/json"),
        (b"[1] Smith, A. (2020)", None, None, "text/plain"),
        (b"{% block %} text", None, None, "text/plain"),
        (b"[note]\nkey = 1\n", None, None, "text/plain"),
        (NOTEBOOK, None, "notes.txt", "application/x-ipynb+json"),
        (NOTEBOOK, "application/json", None, "application/x-ipynb+json"),
        (b"\n<feed><entry>x</entry></feed>", None, "a.txt", "application/xml"),
        (b"<!-- c --><feed>" + b"<entry>x</entry>" * 900 + b"</feed>", None, None, "application/xml"),
        (b"<feed><entry>x</feed>", None, None, "text/plain"),
        (b"<T> means </T> nothing", None, None, "text/plain"),
        (b"<feed/>", "application/atom+xml", None, "application/xml"),
        (b"<svg><text>x</text></svg>", "image/svg+xml", None, "application/xml"),
        (b"just words", None, "notes.xml", "text/plain"),
        (b"a,b\n1,2\n", None, "table.csv", "text/csv"),
        (b"a,b\n1,2\n", "text/plain", None, "text/plain"),
        (b"a\tb\n", None, "table.TSV", "text/tab-separated-values"),
        ("a,b\n1,2\n".encode("utf-16"), None, "table.csv", "text/csv"),
        (b"* One\n", None, "notes.org", "text/x-org"),
        (b"One\n===\n", None, "notes.rst", "text/x-rst"),
    ],
)
def test_what_a_text_is_shows_in_its_content_or_else_in_its_name(
    content: bytes, declared: str | None, filename: str | None, expected: str
) -> None:
    assert detect(content, declared, filename, {*ALL, "text/x-org", "text/x-rst"}).media_type == expected


def test_comments_without_end_take_no_time() -> None:
    assert found(b"<!-- -->" * 450 + b"text") == "text/plain"


def test_text_under_a_name_of_a_binary_format_is_text() -> None:
    assert found(b"Not a PDF at all", None, "report.pdf") == "text/plain"


def test_a_type_with_an_extractor_is_kept() -> None:
    assert detect(b"a,b\n", "text/csv", None, {*KNOWN, "text/csv"}).media_type == "text/csv"


def test_office_files_under_a_password_are_named_as_such() -> None:
    with pytest.raises(ExtractionError, match="password") as refused:
        detect(OLE + "EncryptedPackage".encode("utf-16-le"), None, "plan.xlsx", KNOWN)
    assert refused.value.code == "encrypted"
