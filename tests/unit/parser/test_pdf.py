import zlib

import pytest

from services.parser.document import MAX_HEADING_LEVEL, Section
from services.parser.errors import ExtractionError
from services.parser.extraction import open_document
from tests.unit.parser.bodies import without_headings
from tests.unit.parser.small_pdf import FONT, Text, drawing, drawn, lines, page, pdf, stream, written

CATALOG = b"<</Type/Catalog/Pages 2 0 R>>"
TREE = b"<</Type/Pages/Count 1/Kids[4 0 R]/MediaBox[0 0 612 792]>>"
LONG = "The pump starts when the pressure in the second vessel falls below four bar and"
HEBREW = "שלום עולם"


def sections(content: bytes) -> list[Section]:
    return without_headings(open_document(content).sections)


def texts(content: bytes) -> list[str]:
    return [section.text for section in sections(content)]


def refusal(content: bytes) -> str:
    with pytest.raises(ExtractionError) as refused:
        sections(content)
    return refused.value.code


def spread(words: list[str], y: float, widths: float = 120) -> list[Text]:
    return [(72 + number * widths, y, 10, word) for number, word in enumerate(words)]


def test_every_section_knows_its_page() -> None:
    document = written(lines("One"), [], lines("Three"))
    assert sections(document) == [Section("One", page=1), Section("Three", page=3)]


@pytest.mark.parametrize(
    ("written_lines", "text"),
    [
        ([LONG, "stops."], f"{LONG} stops."),
        ([LONG + " the main-", "tenance begins."], f"{LONG} the maintenance begins."),
        ([LONG + " for Jean-", "Pierre it stops."], f"{LONG} for Jean-Pierre it stops."),
        ([LONG, "Short", "lines", "stay."], f"{LONG} Short\nlines\nstay."),
    ],
    ids=["joined", "hyphen of a line's end", "hyphen of a word", "lines with room left"],
)
def test_lines_become_paragraphs(written_lines: list[str], text: str) -> None:
    assert texts(written(lines(*written_lines))) == [text]


def test_a_wider_gap_parts_paragraphs() -> None:
    document = written([*lines(LONG, LONG, "ends."), *lines(LONG, LONG, "ends.", top=670)])
    assert texts(document) == [f"{LONG} {LONG} ends."] * 2


def test_an_indented_line_starts_a_paragraph() -> None:
    upper, first = lines(LONG, "it ends."), lines(LONG, left=86, top=696)
    assert texts(written([*upper, *first, *lines(LONG, top=684)])) == [f"{LONG} it ends.", f"{LONG} {LONG}"]


def test_columns_are_read_one_after_the_other() -> None:
    left, right = lines("left column one", "left column two"), lines("right column one", "right column two", left=330)
    assert texts(written([*left, *right])) == ["left column one left column two", "right column one right column two"]


def test_an_exponent_stays_in_its_line() -> None:
    assert texts(written([(72, 700, 10, "Area in m"), (118, 704, 6, "2"), (123, 700, 10, "of floor")])) == [
        "Area in m 2 of floor"
    ]


@pytest.mark.parametrize("marks", [["•", "•"], ["1.", "2."], ["a)", "b)"]])
def test_marks_make_a_list(marks: list[str]) -> None:
    items = lines(f"{marks[0]} Open the valve", f"{marks[1]} Close the valve")
    assert sections(written(items)) == [Section("\n".join(text for *_, text in items), "list", page=1)]


def test_rows_with_gaps_make_a_table() -> None:
    rows = [["Part", "Price", "Stock"], ["Valve", "12.50", "3"], ["Pump", "80.00", "1"]]
    drawn_rows = [text for number, row in enumerate(rows) for text in spread(row, 700 - 12 * number)]
    assert sections(written([*lines(LONG), *drawn_rows])) == [
        Section(LONG, page=1),
        Section("Part | Price | Stock\nValve | 12.50 | 3\nPump | 80.00 | 1", "table", page=1),
    ]


def test_large_letters_are_headings() -> None:
    heading, smaller = [(72.0, 740.0, 20.0, "Pumps")], [(72.0, 660.0, 14.5, "Starting")]
    document = written([*heading, *lines(LONG, LONG), *smaller, *lines(LONG, LONG, top=640)])
    assert [(section.text, section.heading_path) for section in sections(document)] == [
        (f"{LONG} {LONG}", ("Pumps",)),
        (f"{LONG} {LONG}", ("Pumps", "Starting")),
    ]


def test_a_large_header_of_every_page_is_a_heading_once() -> None:
    header, part = [(72.0, 760.0, 14.0, "Pump manual")], [(72.0, 740.0, 12.0, "Starting")]
    document = written([*header, *part, *lines(LONG, LONG)], [*header, *lines(LONG, LONG)])
    assert sections(document)[-1].heading_path == ("Pump manual", "Starting")


def outlined(*titles: str) -> bytes:
    """Return two pages and an outline whose first entry holds the others; the second page shows the last title."""
    entries = [b"<</First 9 0 R/Last 9 0 R>>", b"<</Title(%b)/Parent 8 0 R/Dest[4 0 R/Fit]/First 10 0 R>>"]
    for number, title in enumerate(titles[1:]):
        behind = b"/Next %d 0 R" % (11 + number) if number + 2 < len(titles) else b""
        entries.append(b"<</Title(%b)/Parent 9 0 R/Dest[6 0 R/Fit]%b>>" % (title.encode(), behind))
    entries[1] %= titles[0].encode()
    pages = [lines("Before.", pitch=40), [*lines("1.2  " + titles[-1]), *lines(LONG, top=680)]]
    return written(*pages, catalog=b"/Outlines 8 0 R", more=entries)


def test_an_outline_names_the_headings_where_the_page_shows_them() -> None:
    assert [(section.text, section.heading_path) for section in sections(outlined("Pumps", "Starting"))] == [
        ("Before.", ()),
        (LONG, ("Pumps", "Starting")),
    ]


def test_an_outline_that_the_pages_do_not_show_adds_nothing() -> None:
    found = sections(outlined("Pumps", *(f"Missing {n}" for n in "abc"), "Starting"))
    assert [section.text for section in found] == ["Before.", LONG]
    assert all(len(section.heading_path) <= MAX_HEADING_LEVEL for section in found)


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("The pump manual", "The pump manual"),
        ("Untitled", None),
        ("Microsoft Word - pump.doc", None),
        ("pump_final_v3.docx", None),
        ("C:\\manuals\\pump", None),
        ("  ", None),
    ],
)
def test_a_title_is_one_that_somebody_gave(title: str, expected: str | None) -> None:
    escaped = title.replace("\\", "\\\\").encode()
    document = written(lines("Text"), trailer=b"/Info 6 0 R", more=[b"<</Title(%b)>>" % escaped])
    assert open_document(document).title == expected


def typed(mapping: dict[int, str], content: bytes) -> bytes:
    """Return a page in a font whose character numbers mean what `mapping` says."""
    pairs = b"".join(b"<%04X> <%b>\n" % (code, _utf16(text)) for code, text in mapping.items())
    start = b"/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /X def\n"
    space = b"1 begincodespacerange <0000> <FFFF> endcodespacerange\n"
    table = start + space + b"%d beginbfchar\n%bendbfchar endcmap end end" % (len(mapping), pairs)
    descendant = b"/CIDSystemInfo<</Registry(Adobe)/Ordering(Identity)/Supplement 0>>/DW 600/FontDescriptor 8 0 R"
    return pdf(
        [
            *(CATALOG, TREE),
            b"<</Type/Font/Subtype/Type0/BaseFont/X/Encoding/Identity-H/DescendantFonts[6 0 R]/ToUnicode 7 0 R>>",
            *(page(b"/Contents 5 0 R"), stream(content)),
            b"<</Type/Font/Subtype/CIDFontType2/BaseFont/X%b>>" % descendant,
            stream(table),
            b"<</Type/FontDescriptor/FontName/X/Flags 4/FontBBox[0 -200 600 800]/Ascent 800/Descent -200/StemV 80>>",
        ]
    )


def _utf16(text: str) -> bytes:
    return text.encode("utf-16-be").hex().encode()


CODES = {letter: number for number, letter in enumerate(sorted(set(HEBREW)), start=1)}


def _shown(text: str) -> bytes:
    return b"<%b>" % b"".join(b"%04X" % CODES[letter] for letter in text)


@pytest.mark.parametrize(
    "content",
    [
        b"BT /F1 10 Tf 72 700 Td %b Tj ET" % _shown(HEBREW[::-1]),
        b"BT /F1 10 Tf 200 700 Td [%b] TJ ET" % b" 1200 ".join(map(_shown, HEBREW)),
        b"/Span <</ActualText <FEFF%b>>> BDC BT /F1 10 Tf 72 700 Td <00010002> Tj ET EMC" % _utf16(HEBREW),
    ],
    ids=["as it is seen", "as it is read", "as replacement text"],
)
def test_text_from_right_to_left_comes_in_the_order_of_reading(content: bytes) -> None:
    assert texts(typed({number: letter for letter, number in CODES.items()}, content)) == [HEBREW]


@pytest.mark.parametrize(
    ("characters", "text"),
    [(["e", "ﬃ", "c"], "effic"), (["ﬁ", "t", "s"], "fits"), (["⼀", "x", "⾦"], "一x金"), (["a", "😀", "b"], "a😀b")],
    ids=["ligature of three", "ligature", "radicals", "beyond the basic plane"],
)
def test_letters_are_those_that_people_search_for(characters: list[str], text: str) -> None:
    content = b"BT /F1 10 Tf 72 700 Td <000100020003> Tj ET"
    assert texts(typed(dict(enumerate(characters, start=1)), content)) == [text]


def test_lines_of_a_script_without_blanks_are_joined_without() -> None:
    content = b"BT /F1 10 Tf 12 TL 72 700 Td <00010002000300010002> Tj T* <00030003> Tj ET"
    assert texts(typed({1: "水", 2: "圧", 3: "計"}, content)) == ["水圧計水圧計計"]


def test_what_was_filled_into_a_form_is_read() -> None:
    shown = stream(
        b"BT /F1 10 Tf 2 2 Td (Ada Lovelace) Tj ET",
        b"/Type/XObject/Subtype/Form/BBox[0 0 200 20]/Resources<</Font<</F1 3 0 R>>>>",
    )
    annotation = b"<</Type/Annot/Subtype/%b/F 4/Rect[150 715 350 735]/AP<</N 7 0 R>>%b>>"
    for kind, more in ((b"Widget", b"/FT/Tx/T(name)/V(Ada Lovelace)"), (b"FreeText", b"")):
        objects = [CATALOG, TREE, FONT, page(b"/Contents 5 0 R/Annots[6 0 R]"), stream(drawing(lines("Name:")))]
        assert texts(pdf([*objects, annotation % (kind, more), shown])) == ["Name: Ada Lovelace"]


def test_a_page_without_a_text_layer_needs_ocr() -> None:
    with pytest.raises(ExtractionError, match="OCR") as refused:
        sections(drawn(b"0 0 m 100 100 l S"))
    assert refused.value.code == "no_text"


def locked() -> bytes:
    """Return a file that a password protects (revision 2, 40 bits); no key opens its made-up verifiers."""
    encryption = b"<</Filter/Standard/V 1/R 2/O<%b>/U<%b>/P -44>>" % (b"A1" * 32, b"B2" * 32)
    return written(lines("Secret"), trailer=b"/Encrypt 6 0 R/ID[<00><00>]", more=[encryption])


def test_a_password_is_asked_for() -> None:
    with pytest.raises(ExtractionError, match="Remove the password") as refused:
        sections(locked())
    assert refused.value.code == "encrypted"


@pytest.mark.parametrize("share", [0.99, 0.9, 0.7])
def test_a_file_that_was_cut_off_is_read_as_far_as_it_goes(share: float) -> None:
    whole = written(lines("First page."), lines("Second page."), lines("Third page."))
    assert texts(whole[: int(len(whole) * share)])[:2] == ["First page.", "Second page."]


def test_objects_in_a_stream_are_found_without_their_table() -> None:
    objects = b"<</Type/Page/Resources<</Font<</F1 3 0 R>>>>/MediaBox[0 0 612 792]/Contents 5 0 R>>"
    packed = b"4 0 3 %d " % (len(objects) + 1)
    body = zlib.compress(packed + objects + b" " + FONT)
    container = b"<</Type/ObjStm/N 2/First %d/Filter/FlateDecode/Length %d>>" % (len(packed), len(body))
    cut = b"%%PDF-1.7\n5 0 obj\n%b\nendobj\n6 0 obj\n%b\nstream\n%b\nendstream\nendobj\n"
    assert texts(cut % (stream(drawing(lines("Found again."))), container, body)) == ["Found again."]


@pytest.mark.parametrize(
    "content",
    [b"%PDF-1.7\n", b"%PDF-1.7\n" + bytes(range(256)) * 100, b"%PDF-1.4\n1 0 obj\n<</Type/Page>>\nendobj\n"],
    ids=["header alone", "noise", "page without content"],
)
def test_a_file_with_nothing_left_to_read_is_corrupt(content: bytes) -> None:
    assert refusal(content) == "corrupt"


def test_a_page_that_cannot_be_read_costs_itself_only() -> None:
    document = written(lines("One"), lines("Two"), lines("Three")).replace(
        b"[4 0 R 6 0 R 8 0 R]", b"[4 0 R 3 0 R 8 0 R]"
    )
    assert sections(document) == [Section("One", page=1), Section("Three", page=3)]
