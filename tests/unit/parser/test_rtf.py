import pytest

from services.parser.document import Block, Heading, Section, Source
from services.parser.errors import ExtractionError
from services.parser.formats.rtf import extract
from services.parser.formats.rtf_compression import decompress

STYLES = r"{\stylesheet{\s0 Normal;}{\s1\outlinelevel0 heading 1;}{\s2 heading 2;}{\s3\outlinelevel2\'dcberschrift;}}"


def blocks(body: str) -> list[Block]:
    return list(extract(Source(rf"{{\rtf1\ansi\ansicpg1252 {body}}}".encode("latin-1"), "application/rtf")).blocks)


def text(body: str) -> str:
    return "\n".join(block.text for block in blocks(body))


def test_headings_are_told_by_style_and_outline_level() -> None:
    body = STYLES + r"\pard\s1 One\par\pard Text\par\pard\s2 Two\par\pard\s3 Three\par\pard\outlinelevel3 Four\par"
    assert blocks(body) == [
        Heading(1, "One"),
        Section("Text"),
        Heading(2, "Two"),
        Heading(3, "Three"),
        Heading(4, "Four"),
    ]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (r"one\par two\line three\par", [("text", "one"), ("text", "two\nthree")]),
        (r"a\~b \{c\} d\\e\emdash f\tab g", [("text", "a b {c} d\\e\u2014f\tg")]),
        (r"{\b bold} and {\field{\*\fldinst HYPERLINK x}{\fldrslt link}}\par", [("text", "bold and link")]),
        (
            r"\trowd\intbl A\cell B\cell\row\intbl 1\cell 2\par 3\cell\row\pard x\par",
            [("table", "A | B\n1 | 2 3"), ("text", "x")],
        ),
        (r"{\listtext\'b7\tab}one\par{\listtext\'b7\tab}two\par", [("list", "- one\n- two")]),
        (r"{\listtext 1.\tab}one\par{\listtext 2.\tab}two\par", [("list", "1. one\n2. two")]),
        (r"text{\footnote a note\par} on\par", [("text", "text (a note) on")]),
        (r"{\header Top\par}x\par{\header Top\par}y\par", [("text", "Top"), ("text", "x"), ("text", "y")]),
        (r"{\shp{\*\shpinst{\sp{\sn n}{\sv v}}{\shptxt box\par}}}\par", [("text", "box")]),
    ],
)
def test_blocks_keep_their_shape(body: str, expected: list[tuple[str, str]]) -> None:
    assert [(block.kind, block.text) for block in blocks(body) if isinstance(block, Section)] == expected


@pytest.mark.parametrize(
    "hidden",
    [
        r"{\*\generator Writer;}",
        r"{\pict\pngblip 89504e470d0a1a0a}",
        "{\\pict\\bin6 }}\\x{{}",
        r"{\v secret}",
        r"{\deleted secret}",
        r"{\fonttbl{\f0 Arial;}}",
        r"{\colortbl;\red0;}",
        r"{\info{\author Me}}",
        r"{\*\unheard\of{\deep secret}}",
    ],
)
def test_what_no_reader_sees_is_dropped(hidden: str) -> None:
    assert text(rf"before{hidden} after\par") == "before after"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (r"caf\'e9", "café"),
        (r"{\fonttbl{\f1\fcharset204 A;}}\f1\'cf\'f0\'e8", "При"),
        (r"{\fonttbl{\f1\fcharset128 A;}}\f1\'82\'a0\'82\'a2", "あい"),
        (r"{\fonttbl{\f1\fcharset134 A;}}{\f1\'d6\'d0}\'e9", "中é"),
        (r"\ansicpg1251\'cf\'f0\'e8", "При"),
        (r"\u8364?uro", "€uro"),
        (r"\uc2\u8364\'80x{\uc0\u233}y", "€\u00e9y"),
        (r"\u-10179?\u-8704?", "\U0001f600"),
        (r"\u-10179?x", "\ufffdx"),
    ],
)
def test_every_way_to_write_a_character_is_read(body: str, expected: str) -> None:
    assert text(body) == expected


@pytest.mark.parametrize(
    ("body", "title"),
    [
        (r"{\info{\title Caf\'e9}}text\par", "Café"),
        (STYLES + r"\s1 One\par text\par", "One"),
        (r"text\par" + STYLES + r"\s1 One\par", None),
    ],
)
def test_the_title_is_the_documents_or_an_opening_heading(body: str, title: str | None) -> None:
    assert extract(Source(rf"{{\rtf1 {body}}}".encode(), "application/rtf")).title == title


def test_what_follows_the_document_is_ignored() -> None:
    found = extract(Source(rb"{\rtf1 text\par}\trailing{junk", "application/rtf")).blocks
    assert [block.text for block in found] == ["text"]


def test_a_file_that_breaks_off_is_read_so_far() -> None:
    assert [block.text for block in extract(Source(rb"{\rtf1 {\b one\par two", "")).blocks] == ["one", "two"]


def test_groups_without_end_are_refused() -> None:
    with pytest.raises(ExtractionError) as refused:
        list(extract(Source(b"{" * 100_000, "application/rtf")).blocks)
    assert refused.value.code == "corrupt"


def test_paragraphs_of_html_in_rtf_are_kept() -> None:
    items = r"{\*\htmltag64 <li>}one{\*\htmltag72 </li>}{\*\htmltag64 <li>}two{\*\htmltag84 <b>}!{\*\htmltag84 </b>}"
    assert text(r"\fromhtml1 " + items) == "one\ntwo!"


def test_compressed_rtf_is_read() -> None:
    # The two examples of MS-OXRTFCP, sections 3.1.1 and 3.2.1 (the second repeats into what it writes).
    simple = "2d0000002b0000004c5a4675f1c5c7a703000a007263706731323542320af32068656c090020627705b06c647d0a800fa0"
    crossing = "1a0000001c0000004c5a4675e2d44b51410004205758595a0d6e7d010eb0"
    assert decompress(bytes.fromhex(simple)) == b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n"
    assert decompress(bytes.fromhex(crossing)) == b"{\\rtf1 WXYZWXYZWXYZWXYZWXYZ}"


@pytest.mark.parametrize("content", [b"", b"short", bytes.fromhex("2d0000002b0000004c5a4675f1c5c7a7ff"), b"\xff" * 400])
def test_damaged_compression_gives_what_is_left(content: bytes) -> None:
    assert len(decompress(content)) <= 9 * len(content)
