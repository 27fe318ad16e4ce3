import base64
import quopri
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.parser.document import Document, Section
from services.parser.errors import ExtractionError
from services.parser.extraction import open_document
from tests.unit.parser.bodies import without_headings

HEAD = "From: Ann <ann@x.example>\nTo: Bob <bob@x.example>\nDate: Tue, 01 Oct 2024 12:34:56 -0500\nSubject: Plan\n"
STUB = "View this mail in your browser."


def opened(content: str | bytes, filename: str = "mail.eml") -> tuple[Document, list[Section]]:
    document = open_document(content.encode() if isinstance(content, str) else content, None, filename)
    return document, without_headings(document.sections)


def texts(content: str | bytes) -> list[str]:
    """Return the sections behind the header lines."""
    return [section.text for section in opened(content)[1][1:]]


def outcome(content: str) -> str:
    try:
        return "read" if opened(content)[1] else "empty"
    except ExtractionError as error:
        return error.code


def letter(*attachments: tuple[bytes, str, str]) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "ann@x.example", "bob@x.example", "Plan"
    message.set_content("The body.\n")
    for content, media_type, name in attachments:
        kind, _, subtype = media_type.partition("/")
        message.add_attachment(content, maintype=kind, subtype=subtype, filename=name)
    return message


def multipart(kind: str, *parts: str) -> str:
    return (
        f"{HEAD}Content-Type: multipart/{kind}; boundary=b\n\n"
        + "".join(f"--b\n{part}\n" for part in parts)
        + "--b--\n"
    )


def test_subject_is_the_title_and_header_lines_are_the_first_section() -> None:
    document, sections = opened(HEAD + "Cc: Eve\nReceived: from a by b\n\nHello.\n\nBye.\n")
    assert (document.media_type, document.title) == ("message/rfc822", "Plan")
    assert [section.text for section in sections] == [
        "From: Ann <ann@x.example>\nTo: Bob <bob@x.example>\nCc: Eve\n"
        "Date: Tue, 01 Oct 2024 12:34:56 -0500\nSubject: Plan",
        "Hello.",
        "Bye.",
    ]


def test_a_memo_in_the_form_of_a_mail_loses_no_line() -> None:
    _, sections = opened("TO: Bob\nFrom: Ann\nDate: today\nSubject: Plan\nPriority: high\n\nHello.", "memo.txt")
    assert sections[0].text == "From: Ann\nTo: Bob\nDate: today\nSubject: Plan\nPriority: high"


@pytest.mark.parametrize(
    ("encoded", "decoded"),
    [
        ("=?utf-8?q?Caf=C3=A9_au_lait?=", "Café au lait"),
        ("=?UTF-8?B?Q2Fmw6k=?= today", "Café today"),
        ("=?iso-8859-1?Q?Caf=E9?=\n =?iso-8859-1?Q?_noir?=", "Café noir"),
        ("=?utf-8?b?Q2Fmw?= =?utf-8?b?6k=?=", "=?utf-8?b?Q2Fmw?= =?utf-8?b?6k=?="),
        ("=?utf-8?q?=E2=82?= =?utf-8?q?=AC?=", "€"),
        ("=?no-such-charset?q?Caf=C3=A9?=", "Café"),
        ("Café", "Café"),
    ],
)
def test_encoded_subjects_are_decoded(encoded: str, decoded: str) -> None:
    document, _ = opened(f"From: a@b.example\nSubject: {encoded}\n\nbody")
    assert document.title == decoded


@pytest.mark.parametrize(
    ("content_type", "encoding", "body", "expected"),
    [
        ("text/plain; charset=utf-8", "quoted-printable", "Caf=C3=A9 =\nnoir", "Café noir"),
        ("text/plain; charset=iso-8859-1", "quoted-printable", "Caf=E9 =zz", "Café =zz"),
        ("text/plain; charset=windows-1251", "base64", base64.b64encode("Привет".encode("cp1251")).decode(), "Привет"),
        ("text/plain; charset=utf-8", "base64", "SGVsbG8gdGhlcmU", "Hello there"),
        ("text/plain; charset=utf-8", "base64", "SGVs*bG8gd\nGhlcmU=", "Hello there"),
        ("text/plain; charset=UTF_8", "7bit", "Hello", "Hello"),
        ("text/plain; charset=no-such", "8bit", "Café", "Café"),
        ("text/plain; charset=us-ascii", "8bit", "Café", "Café"),
        ("text/plain; charset", "no-such-encoding", "Hello", "Hello"),
        ("nonsense", "7bit", "Hello", "Hello"),
        ("text/html; charset=utf-8", "7bit", "<p>Hello</p><script>x</script>", "Hello"),
    ],
)
def test_bodies_are_decoded_whatever_is_wrong_with_them(
    content_type: str, encoding: str, body: str, expected: str
) -> None:
    mail = f"{HEAD}Content-Type: {content_type}\nContent-Transfer-Encoding: {encoding}\n\n{body}"
    assert texts(mail) == [expected]


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig"])
def test_a_mail_that_was_saved_as_unicode_is_read(codec: str) -> None:
    assert texts((HEAD + "\nCafé").encode(codec)) == ["Café"]


@pytest.mark.parametrize(
    ("plain", "rich", "expected"),
    [
        ("The plain text.", "<p>The rich text.", "The plain text."),
        ("", "<p>The rich text.", "The rich text."),
        ("The plain text.", "", "The plain text."),
        (STUB, f"<p>{'The rich text. ' * 20}", ("The rich text. " * 20).strip()),
    ],
)
def test_the_best_form_of_the_body_is_read(plain: str, rich: str, expected: str) -> None:
    mail = multipart("alternative", f"Content-Type: text/plain\n\n{plain}", f"Content-Type: text/html\n\n{rich}")
    assert texts(mail) == [expected]


def test_all_parts_of_a_mixed_body_are_read_in_order() -> None:
    mail = multipart("mixed", "Content-Type: text/plain\n\none", "Content-Type: text/html\n\n<b>two", "\nthree")
    assert texts(mail) == ["one", "two", "three"]


@pytest.mark.parametrize(
    ("content", "media_type", "name", "expected"),
    [
        (b"Notes.", "text/plain", "notes.txt", ["Notes."]),
        (b"# Part\n\nNotes.", "application/octet-stream", "notes.md", ["Notes."]),
        (b"<p>Notes.", "text/html", "notes.html", ["Notes."]),
        (b"a,b\n1,2\n", "text/csv", "notes.csv", ["a: 1 | b: 2"]),
        (rb"{\rtf1 Notes.\par}", "application/msword", "notes.doc", ["Notes."]),
        ((HEAD + "\nInner.").encode(), "application/octet-stream", "inner.eml", ["Inner."]),
    ],
)
def test_attachments_are_read_by_the_extractor_of_their_content(
    content: bytes, media_type: str, name: str, expected: list[str]
) -> None:
    _, (head, body, *attached) = opened(letter((content, media_type, name)).as_bytes())
    assert (head.text.splitlines()[-1], body.text) == (f"Attachments: {name}", "The body.")
    assert [section.text for section in attached][-1:] == expected
    assert {section.heading_path[0] for section in attached} == {name}


@pytest.mark.parametrize(
    ("content", "name", "reason"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0", "photo.png", "unsupported_type"),
        (b"  \n", "blank.txt", "no_text"),
        (b"PK\x03\x04broken", "book.epub", "unsupported_type"),
        (b'{"cells": [', "book.ipynb", "corrupt"),
        (f"{HEAD}Content-Type: multipart/encrypted\n\nx".encode(), "secret.eml", "encrypted"),
    ],
)
def test_an_attachment_that_cannot_be_read_is_named_with_the_reason(content: bytes, name: str, reason: str) -> None:
    _, sections = opened(
        letter((content, "application/octet-stream", name), (b"More.", "text/plain", "b.txt")).as_bytes()
    )
    failed = [section for section in sections if section.heading_path == (name,)]
    assert f"not read ({reason})" in failed[-1].text
    assert sections[-1] == Section("More.", "text", ("b.txt",))


def test_a_message_in_a_message_is_an_attachment() -> None:
    inner = letter((b"Deep notes.", "text/plain", "deep.txt"))
    outer = letter()
    outer.add_attachment(inner)
    _, sections = opened(outer.as_bytes())
    assert [(section.heading_path, section.text) for section in sections[2:]] == [
        (("Plan",), "From: ann@x.example\nTo: bob@x.example\nSubject: Plan\nAttachments: deep.txt"),
        (("Plan",), "The body."),
        (("Plan", "deep.txt"), "Deep notes."),
    ]


def test_mail_in_mail_ends_at_a_depth() -> None:
    message = letter()
    for _ in range(7):
        outer = letter()
        outer.add_attachment(message)
        message = outer
    _, sections = opened(message.as_bytes())
    assert "levels deep" in sections[-1].text
    assert sum(section.text == "The body." for section in sections) == 5


def test_a_flood_of_attachments_ends_at_a_count() -> None:
    mail = letter(*((b"Notes.", "text/plain", f"{number}.txt") for number in range(103))).as_bytes()
    _, sections = opened(mail)
    assert sum(section.text == "Notes." for section in sections) == 100
    assert sections[-1].text.startswith("3 more attachments were not read")


@pytest.mark.parametrize(
    "mail",
    [
        multipart("encrypted; protocol=application/pgp-encrypted", "\nVersion: 1"),
        f"{HEAD}\n-----BEGIN PGP MESSAGE-----\n\nhIwD\n-----END PGP MESSAGE-----\n",
        f"{HEAD}Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\n\nMIIB",
        f"{HEAD}Content-Type: application/x-pkcs7-mime\n\nMIIB",
    ],
)
def test_encrypted_mail_says_so(mail: str) -> None:
    with pytest.raises(ExtractionError) as refused:
        opened(mail)
    assert refused.value.code == "encrypted"


def test_a_signed_mail_is_read_without_its_signature() -> None:
    signature = "Content-Type: application/pgp-signature; name=signature.asc\n\n-----BEGIN PGP SIGNATURE-----"
    assert texts(multipart("signed", "Content-Type: text/plain\n\nHello.", signature)) == ["Hello."]


@pytest.mark.parametrize("mail", [" \n\t\n", HEAD + "\n", HEAD + "Content-Type: image/png\n\n"])
def test_a_mail_without_text_says_so(mail: str) -> None:
    with pytest.raises(ExtractionError) as refused:
        opened(mail)
    assert refused.value.code == "no_text"


def test_an_attachment_that_travels_as_it_is_costs_nothing() -> None:
    binary = (
        b"\n--b\nContent-Type: image/png; name=p.png\nContent-Transfer-Encoding: binary\n\n" + bytes(range(256)) * 9
    )
    _, sections = opened(
        multipart("mixed", "\nHello.").removesuffix("\n--b--\n").encode() + binary + b"\n--b--\n", "m.txt"
    )
    assert sections[1].text == "Hello."


def test_parts_that_nest_without_end_are_refused() -> None:
    nest = "".join(f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(2_000))
    with pytest.raises(ExtractionError) as refused:
        opened(HEAD + nest)
    assert refused.value.code == "corrupt"


@given(
    st.lists(st.sampled_from(["From", "Subject", "Content-Type", "Content-Disposition", "To"])),
    st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=60),
)
def test_broken_headers_never_fail(names: list[str], value: str) -> None:
    mail = "".join(f"{name}: {value}\n" for name in names) + "\nbody"
    assert outcome(mail) in ("read", "no_text", "encrypted")


def test_quoted_printable_of_another_letter_stays_in_its_part() -> None:
    body = quopri.encodestring("Grüße".encode("cp1252")).decode()
    part = f"Content-Type: text/plain; charset=windows-1252\nContent-Transfer-Encoding: quoted-printable\n\n{body}"
    assert texts(multipart("mixed", part, "Content-Type: text/plain; charset=utf-8\n\nGrüße")) == ["Grüße", "Grüße"]
