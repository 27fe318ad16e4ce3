import struct

import pytest

from services.parser.document import Document, Section
from services.parser.errors import ExtractionError
from services.parser.extraction import open_document
from services.parser.media_types import detect
from tests.unit.parser.bodies import without_headings
from tests.unit.parser.compound_file import Tree, compound_file

SENT = (133_725_000_960_000_000).to_bytes(8, "little")


def properties(header_bytes: int, *fixed: tuple[int, int, bytes]) -> bytes:
    entries = (struct.pack("<HHI8s", kind, number, 6, value.ljust(8, b"\0")) for number, kind, value in fixed)
    return b"\0" * header_bytes + b"".join(entries)


def wide(**texts: str) -> Tree:
    return {f"__substg1.0_{name[1:]}001F": text.encode("utf-16-le") for name, text in texts.items()}


def message(body: Tree, *parts: tuple[str, Tree], header_bytes: int = 32) -> Tree:
    head = wide(p0037="Plan", p0C1A="Ann", p0C1F="ann@x.example", p001A="IPM.Note")
    fixed: Tree = {"__properties_version1.0": properties(header_bytes, (0x0039, 0x40, SENT))}
    return {**fixed, **head, **body, **dict(parts)}


def recipient(number: int, name: str, address: str, kind: int = 1) -> tuple[str, Tree]:
    fixed: Tree = {"__properties_version1.0": properties(8, (0x0C15, 3, bytes([kind])))}
    return f"__recip_version1.0_#{number:08X}", fixed | wide(p3001=name, p39FE=address)


def attachment(number: int, name: str, content: bytes | Tree, media_type: str = "") -> tuple[str, Tree]:
    data: Tree = {"__substg1.0_3701" + ("0102" if isinstance(content, bytes) else "000D"): content}
    return f"__attach_version1.0_#{number:08X}", data | wide(p3707=name, p370E=media_type)


CODE_PAGE_1251: Tree = {"__properties_version1.0": properties(32, (0x3FFD, 3, struct.pack("<I", 1251)))}


def opened(tree: Tree) -> tuple[Document, list[Section]]:
    document = open_document(compound_file(tree), None, "mail.msg")
    return document, without_headings(document.sections)


def outcome(content: bytes) -> str:
    try:
        return "read" if list(open_document(content, "application/vnd.ms-outlook").sections) else "empty"
    except ExtractionError as error:
        return error.code


def test_a_message_has_header_lines_and_a_body() -> None:
    tree = message(wide(p1000="Hello.\r\n\r\nBye."), recipient(0, "Bob", "bob@x.example"), recipient(1, "Eve", "", 2))
    document, sections = opened(tree)
    assert (document.media_type, document.title) == ("application/vnd.ms-outlook", "Plan")
    assert [section.text for section in sections] == [
        "From: Ann <ann@x.example>\nTo: Bob <bob@x.example>\nCc: Eve\nDate: 2024-10-04 07:21 UTC\nSubject: Plan",
        "Hello.",
        "Bye.",
    ]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (wide(p1000="Plain.") | {"__substg1.0_10130102": b"<p>Rich."}, "Plain."),
        ({"__substg1.0_10130102": "<p>Café.".encode()}, "Café."),
        (wide(p1013="<p>Rich."), "Rich."),
        (CODE_PAGE_1251 | {"__substg1.0_1000001E": "Привет.".encode("cp1251")}, "Привет."),
        (
            {"__substg1.0_10090102": struct.pack("<II4sI", 37, 25, b"MELA", 0) + rb"{\rtf1\ansi\pard Rich.\par}"},
            "Rich.",
        ),
    ],
)
def test_the_body_is_read_however_it_is_kept(body: Tree, expected: str) -> None:
    assert [section.text for section in opened(message(body))[1][1:]] == [expected]


def test_attachments_and_messages_in_messages_are_read() -> None:
    inner = message(wide(p1000="Inner."), attachment(0, "deep.md", b"# Part\n\nDeep."), header_bytes=24)
    tree = message(
        wide(p1000="Hello."),
        attachment(0, "a.csv", b"a,b\n1,2\n", "text/csv"),
        attachment(1, "", inner),
        attachment(2, "p.png", b"\x89PNG\r\n\x1a\n\0"),
    )
    found = [(section.heading_path, section.text) for section in opened(tree)[1]]
    assert found[0][1].endswith("Attachments: a.csv, attachment, p.png")
    assert (("a.csv",), "a: 1 | b: 2") in found
    assert (("attachment",), "Inner.") in found
    assert (("attachment", "deep.md", "Part"), "Deep.") in found
    assert "not read (unsupported_type)" in found[-1][1]


def test_a_signed_message_is_read_from_the_mail_it_keeps() -> None:
    mail = b"Content-Type: multipart/signed; boundary=b\n\n--b\n\nHello.\n--b--\n"
    tree = message(wide(p001A="IPM.Note.SMIME.MultipartSigned"), attachment(0, "smime.p7m", mail, "multipart/signed"))
    assert opened(tree)[1][-1].text == "Hello."


@pytest.mark.parametrize(
    "tree",
    [
        message(wide(p001A="IPM.Note.SMIME"), attachment(0, "smime.p7m", b"MIIB", "application/pkcs7-mime")),
        message(wide(p1000="Version: 1", p007D="From: a\r\nContent-Type: multipart/encrypted; boundary=b\r\n")),
    ],
)
def test_an_encrypted_message_says_so(tree: Tree) -> None:
    with pytest.raises(ExtractionError) as refused:
        opened(tree)
    assert refused.value.code == "encrypted"


@pytest.mark.parametrize("cut", [600, 1_000, 1_600, 2_100])
def test_a_damaged_message_is_read_so_far_or_refused(cut: int) -> None:
    content = compound_file(message(wide(p1000="Hello.")))
    assert detect(content, None, None, ()).media_type == "application/vnd.ms-outlook"
    assert outcome(content[:cut]) in ("read", "corrupt", "no_text", "unsupported_type")
