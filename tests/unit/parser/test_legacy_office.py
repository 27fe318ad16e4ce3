import struct

import pytest

from services.parser.document import Section
from services.parser.errors import ExtractionError
from tests.unit.parser.office_files import ole, read, texts, title

# Word: where the text and the page of paragraph properties lie in the main stream, in bytes.
TEXT, PAGE = 1024, 2048
HEADING_1, NORMAL = 1, 0
IN_TABLE = struct.pack("<HB", 0x2416, 1)
ROW_END = struct.pack("<HB", 0x2417, 1)
# Another property with an operand of a size of its own stands before it.
TABLE = struct.pack("<HB3s", 0xC634, 3, b"abc") + ROW_END


def doc(*paragraphs: tuple[str, int, bytes], flags: int = 0x0200, wide: bool = False) -> bytes:
    """Return a Word document of paragraphs: text with the mark at its end, style, further properties."""
    codec, width = ("utf-16-le", 2) if wide else ("cp1252", 1)
    text = "".join(paragraph for paragraph, _, _ in paragraphs)
    places = [TEXT]
    for paragraph, _, _ in paragraphs:
        places.append(places[-1] + len(paragraph) * width)
    pairs = {13: (0, 12), 33: (12, 21)}
    table = struct.pack("<III", TEXT, places[-1], PAGE // 512)
    start = TEXT if wide else TEXT * 2 | 0x40000000
    table += struct.pack("<BIIIHIH", 2, 16, 0, len(text), 0, start, 0)
    main = struct.pack("<HHHHHH", 0xA5EC, 0xC1, 0, 0, 0, flags).ljust(32, b"\0")
    main += struct.pack("<H28xH88xH", 14, 22, 0x5D)
    main += b"".join(struct.pack("<II", *pairs.get(number, (0, 0))) for number in range(0x5D))
    main = main.ljust(TEXT, b"\0") + text.encode(codec)
    return ole({"WordDocument": main.ljust(PAGE, b"\0") + properties_page(paragraphs, places), "1Table": table})


def properties_page(paragraphs: tuple[tuple[str, int, bytes], ...], places: list[int]) -> bytes:
    page = bytearray(512)
    page[-1] = count = len(paragraphs)
    struct.pack_into(f"<{count + 1}I", page, 0, *places)
    offset = 4 * (count + 1) + 13 * count + 1 & ~1
    for number, (_, style, more) in enumerate(paragraphs):
        properties = struct.pack("<H", style) + more
        written = bytes([0, (len(properties) + 1) // 2]) + properties + b"\0" * (len(properties) % 2)
        page[4 * (count + 1) + 13 * number] = offset // 2
        page[offset : offset + len(written)] = written
        offset += len(written)
    return bytes(page)


@pytest.mark.parametrize("wide", [False, True])
def test_a_word_document_has_headings_and_paragraphs(wide: bool) -> None:
    content = doc(("Pümps\r", HEADING_1, b""), ("It starts.\r", NORMAL, b""), ("It stops.\r", NORMAL, b""), wide=wide)
    assert read(content) == [Section("It starts.", "text", ("Pümps",)), Section("It stops.", "text", ("Pümps",))]


def test_a_word_table_has_a_line_for_each_row() -> None:
    cells = [("A\x07", NORMAL, b""), ("\x07", NORMAL, b""), ("\x07", NORMAL, TABLE)]
    more = [("1\r", NORMAL, IN_TABLE), ("x\x07", NORMAL, b""), ("2\x07", NORMAL, b""), ("\x07", NORMAL, ROW_END)]
    found = read(doc(*cells, *more, ("end\r", NORMAL, b"")))
    assert [(one.kind, one.text) for one in found] == [("table", "A | \n1 x | 2"), ("text", "end")]


def test_fields_read_as_their_results() -> None:
    field = 'see \x13 HYPERLINK "x" \x14the \x13 PAGE \x147\x15th page\x15\x01 now\x0bthen\x1e\r'
    assert texts(doc((field, NORMAL, b""))) == ["see the 7th page now\nthen-"]


def test_word_6_is_read_without_structure() -> None:
    main = struct.pack("<HH20xII", 0xA5DC, 0x65, 64, 64 + 11).ljust(64, b"\0") + b"one\rtwo\x07\r\r\r\r"
    assert texts(ole({"WordDocument": main})) == ["one", "two"]


def record(kind: int, body: bytes = b"", instance: int = 0, *children: bytes) -> bytes:
    content = body + b"".join(children)
    return struct.pack("<HHI", instance << 4 | (0xF if children else 0), kind, len(content)) + content


def text_record(text: str, kind: int) -> bytes:
    wide = not text.isascii()
    body = record(0x0FA0, text.encode("utf-16-le")) if wide else record(0x0FA8, text.encode("latin-1"))
    return record(0x0F9F, struct.pack("<I", kind)) + body


def place(reference: int, slide_id: int) -> bytes:
    return record(0x03F3, struct.pack("<IIIII", reference, 0, 0, slide_id, 0))


def ppt(slides: bytes, objects: dict[int, bytes], notes: bytes = b"", token: int = 0xE391C05F) -> bytes:
    """Return a presentation whose document record lists `slides` and `notes`; `objects` are records by number."""
    lists = [record(0x0FF0, b"", 0, slides), record(0x0FF0, b"", 2, notes)]
    stream, places = b"\0" * 8, {}
    for number, content in {**objects, 1: record(0x03E8, b"", 0, *lists)}.items():
        places[number] = len(stream)
        stream += content
    directory = len(stream)
    entries = b"".join(struct.pack("<II", number | 1 << 20, offset) for number, offset in places.items())
    stream += record(0x1772, entries)
    edit = len(stream)
    stream += record(0x0FF5, struct.pack("<IIIIII", 0, 0, 0, directory, 1, 0))
    return ole({"Current User": struct.pack("<8xIII", 20, token, edit), "PowerPoint Document": stream})


def shape(text: str, kind: int = 4) -> bytes:
    """Return a shape, three containers deep."""
    return record(0xF004, b"", 0, record(0xF00D, b"", 0, text_record(text, kind)))


def test_a_legacy_presentation_has_slides_under_their_titles() -> None:
    slides = place(2, 256) + text_record("Erträge", 0) + text_record("one\rtwo", 1) + place(3, 257)
    objects = {2: record(0x03EE, b"", 0, shape("boxed")), 3: record(0x03EE, b"", 0, shape("*"), shape("alone"))}
    objects[4] = record(0x03F0, b"", 0, record(0x03F1, struct.pack("<I", 256)), shape("say this", 2))
    content = ppt(slides, objects, notes=place(4, 1))
    assert [(one.text, one.heading_path, one.page) for one in read(content)] == [
        ("one\ntwo", ("Erträge",), 1),
        ("boxed", ("Erträge",), 1),
        ("say this", ("Erträge",), 1),
        ("alone", ("Slide 2",), 2),
    ]
    assert title(content) == "Erträge"


def biff(kind: int, body: bytes = b"") -> bytes:
    return struct.pack("<HH", kind, len(body)) + body


def xls(*cells: bytes, first: bytes = b"") -> bytes:
    """Return a workbook of one sheet, "Costs"."""
    start = biff(0x0809, struct.pack("<HHHHII", 0x0600, 5, 0, 0, 0, 0)) + first
    sheet_at = len(start) + 4 + 13 + 4
    start += biff(0x0085, struct.pack("<IHBB", sheet_at, 0, 5, 0) + b"Costs") + biff(0x000A)
    sheet = biff(0x0809, struct.pack("<HHHHII", 0x0600, 16, 0, 0, 0, 0)) + b"".join(cells) + biff(0x000A)
    return ole({"Workbook": start + sheet})


def label(row: int, column: int, text: str) -> bytes:
    return biff(0x0204, struct.pack("<HHHHB", row, column, 0, len(text), 0) + text.encode("latin-1"))


def number(row: int, column: int, value: float) -> bytes:
    return biff(0x0203, struct.pack("<HHHd", row, column, 0, value))


def test_a_legacy_workbook_reads_like_a_new_one() -> None:
    cells = (label(0, 1, "Item"), label(0, 2, "Price"), label(1, 1, "Nut"), number(1, 2, 2.0), label(3, 1, "Free"))
    assert read(xls(*cells)) == [
        Section("Item | Price\nNut | 2", "table", ("Costs",), 1),
        Section("Free", "text", ("Costs",), 1),
    ]


@pytest.mark.parametrize(
    "content",
    [
        doc(("secret\r", NORMAL, b""), flags=0x0300),
        ppt(b"", {}, token=0xF3D1C4DF),
        xls(first=biff(0x002F, b"\1\0")),
        ole({"EncryptionInfo": b"", "EncryptedPackage": b""}),
    ],
    ids=["Word", "PowerPoint", "Excel", "Office Open XML"],
)
def test_a_document_under_a_password_says_so(content: bytes) -> None:
    with pytest.raises(ExtractionError, match="password") as refused:
        texts(content)
    assert refused.value.code == "encrypted"


@pytest.mark.parametrize(
    "content",
    [
        ole({"WordDocument": b"\xec\xa5"}),
        ole({"WordDocument": b"", "1Table": b""}),
        ole({"PowerPoint Document": b""}),
        ole({"Workbook": b"nonsense"}),
        doc(("text\r", NORMAL, b""))[:2000],
    ],
)
def test_a_damaged_document_says_so(content: bytes) -> None:
    with pytest.raises(ExtractionError) as refused:
        texts(content)
    assert refused.value.code == "corrupt"


def outcome(content: bytes) -> str:
    try:
        texts(content)
    except ExtractionError as error:
        return error.code
    return "read"


@pytest.mark.parametrize(
    "content",
    [doc(("text\r", HEADING_1, TABLE)), ppt(place(2, 1), {2: shape("text")}), xls(label(0, 0, "text"))],
    ids=["Word", "PowerPoint", "Excel"],
)
def test_flipped_bits_end_in_text_or_in_a_known_error(content: bytes) -> None:
    """INVARIANT: no pointer of a damaged file leads into a loop or out of the known errors."""
    outcomes = set()
    for position in range(512, len(content), 7):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        outcomes.add(outcome(bytes(damaged)))
    assert outcomes <= {"read", "corrupt", "encrypted", "no_text", "unsupported_type"}
    assert "read" in outcomes
