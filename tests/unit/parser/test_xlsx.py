import time

import pytest

from services.parser.document import Section
from services.parser.errors import ExtractionError
from tests.unit.parser.office_files import read, relationships, texts, xlsx, xml_part


def row(number: int, **cells: str) -> str:
    """Return a row; a cell that begins with `<` is written as it is."""
    written = (
        value if value.startswith("<") else f'<s:c r="{column}{number}" t="str"><s:v>{value}</s:v></s:c>'
        for column, value in cells.items()
    )
    return f'<s:row r="{number}">{"".join(written)}</s:row>'


def cell(value: str, kind: str = "n", style: int = 0) -> str:
    return f'<s:c t="{kind}" s="{style}"><s:v>{value}</s:v></s:c>'


def test_a_sheet_is_a_page_under_its_name() -> None:
    content = xlsx({"Costs": row(1, A="Item", B="Price") + row(2, A="Nut", B="2"), "Notes": row(1, A="Free")})
    assert read(content) == [
        Section("Item | Price\nNut | 2", "table", ("Costs",), 1),
        Section("Free", "text", ("Notes",), 2),
    ]


def test_an_empty_workbook_has_no_text() -> None:
    with pytest.raises(ExtractionError) as refused:
        read(xlsx({"Sheet1": "", "Sheet2": row(1, A=cell(""))}))
    assert refused.value.code == "no_text"


def test_an_empty_row_ends_a_table() -> None:
    rows = row(1, A="Title") + row(2, A="A", B="B") + row(3, A="1", B="2") + row(5, A="C", B="D") + '<s:row r="6"/>'
    assert texts(xlsx({"S": rows + row(7, A="E", B="F")})) == ["Title", "A | B\n1 | 2", "C | D", "E | F"]


def test_cells_keep_their_columns() -> None:
    rows = row(1, B="A", C="B", D="C") + row(2, B="1", D="3") + row(3, C="2")
    assert texts(xlsx({"S": rows})) == ["A | B | C\n1 |  | 3\n | 2"]


def test_cells_without_references_follow_one_another() -> None:
    assert texts(xlsx({"S": f"<s:row>{cell('1')}{cell('2')}</s:row><s:row>{cell('3')}{cell('4')}</s:row>"})) == [
        "1 | 2\n3 | 4"
    ]


def test_a_sheet_costs_what_is_in_it_not_what_it_claims() -> None:
    """INVARIANT: 17 billion empty cells cost nothing."""
    started = time.monotonic()
    rows = row(1, A="first", B="x") + row(1_048_576, A="a", XFD="last")
    assert texts(xlsx({"S": rows})) == ["first | x", "a |  |  |  |  |  |  |  |  | last"]
    assert time.monotonic() - started < 1


def test_a_long_table_repeats_its_header_in_every_section() -> None:
    rows = row(1, A="Name", B="Amount") + "".join(row(n, A=f"Customer {n}", B=str(n)) for n in range(2, 202))
    found = read(xlsx({"S": rows}))
    assert len(found) > 2
    assert all(one.text.startswith("Name | Amount\nCustomer ") for one in found)
    assert sum(one.text.count("Customer") for one in found) == 200


STYLES = xml_part(
    "s:styleSheet",
    '<s:numFmts><s:numFmt numFmtId="164" formatCode="dd/mm/yyyy hh:mm"/>'
    '<s:numFmt numFmtId="165" formatCode="00000"/></s:numFmts>'
    + "<s:cellXfs>"
    + "".join(f'<s:xf numFmtId="{number}"/>' for number in (0, 14, 164, 9, 165, 999))
    + "</s:cellXfs>",
)
STRINGS = xml_part(
    "s:sst",
    "<s:si><s:t>plain</s:t></s:si>"
    "<s:si><s:r><s:t>rich</s:t></s:r><s:r><s:t> text</s:t></s:r><s:rPh><s:t>x</s:t></s:rPh></s:si>",
)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (cell("0", "s"), "plain"),
        (cell("1", "s"), "rich text"),
        (cell("99", "s"), ""),
        ("<s:c t='inlineStr'><s:is><s:t>inline</s:t></s:is></s:c>", "inline"),
        ("<s:c t='str'><s:f>A1&amp;B1</s:f><s:v>cached</s:v></s:c>", "cached"),
        ("<s:c><s:f>1+1</s:f><s:v>2</s:v></s:c>", "2"),
        (cell("1", "b"), "TRUE"),
        (cell("#N/A", "e"), ""),
        (cell("2024-02-29T00:00:00", "d"), "2024-02-29"),
        (cell("45351", style=1), "2024-02-29"),
        (cell("45351.5", style=2), "2024-02-29 12:00:00"),
        (cell("0.25", style=3), "25%"),
        (cell("1234", style=4), "01234"),
        (cell("1.1", style=99), "1.1"),
        (cell("nonsense", style=1), "nonsense"),
    ],
)
def test_cells_read_as_their_reader_sees_them(written: str, expected: str) -> None:
    parts = {"xl/styles.xml": STYLES, "xl/sharedStrings.xml": STRINGS}
    rows = f"<s:row>{cell('mark', 'str')}{written}</s:row>"
    assert texts(xlsx({"S": rows}, parts)) == [f"mark | {expected}" if expected else "mark"]


@pytest.mark.parametrize(("state", "read_too"), [("hidden", True), ("veryHidden", False)])
def test_only_what_a_program_alone_can_show_is_left_out(state: str, read_too: bool) -> None:
    found = texts(xlsx({"S": row(1, A="seen"), "T": row(1, A="filtered")}, state=state))
    assert found == ["seen", "filtered"][: 1 + read_too]


def test_comments_and_text_boxes_follow_their_sheet() -> None:
    parts = {
        "xl/worksheets/_rels/sheet1.xml.rels": relationships(("comments", "../c1.xml"), ("drawing", "../d1.xml")),
        "xl/c1.xml": xml_part(
            "s:comments", '<s:comment ref="B2"><s:text><s:r><s:t>check</s:t></s:r></s:text></s:comment>'
        ),
        "xl/d1.xml": xml_part("a:wsDr", "<a:sp><a:txBody><a:p><a:r><a:t>boxed</a:t></a:r></a:p></a:txBody></a:sp>"),
    }
    assert texts(xlsx({"S": row(1, A="cell")}, parts)) == ["cell", "boxed", "Comment (B2): check"]


def test_missing_strings_and_styles_cost_only_themselves() -> None:
    assert texts(xlsx({"S": row(1, A="kept", B=cell("0", "s"), C=cell("7", style=3))})) == ["kept |  | 7"]
