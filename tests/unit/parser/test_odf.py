import pytest

from services.parser.document import Section
from services.parser.errors import ExtractionError
from tests.unit.parser.office_files import opendocument, read, texts, title, xml_part, zipped

NUMBERED = (
    '<text:list-style style:name="L1"><text:list-level-style-number text:level="1"/></text:list-style>'
    '<style:style style:name="P1" style:parent-style-name="Title"/>'
)


def p(content: str, style: str = "Standard") -> str:
    return f'<text:p text:style-name="{style}">{content}</text:p>'


def h(content: str, level: int = 1) -> str:
    return f'<text:h text:outline-level="{level}">{content}</text:h>'


def items(*contents: str, style: str = "") -> str:
    written = "".join(f"<text:list-item>{content}</text:list-item>" for content in contents)
    return f'<text:list text:style-name="{style}">{written}</text:list>'


def rows(*lines: tuple[str, ...]) -> str:
    cells = ("".join(f"<table:table-cell>{p(cell)}</table:table-cell>" for cell in line) for line in lines)
    return "".join(f"<table:table-row>{line}</table:table-row>" for line in cells)


def frame(content: str, kind: str = "") -> str:
    return f'<draw:frame presentation:class="{kind}"><draw:text-box>{content}</draw:text-box></draw:frame>'


def test_text_stands_under_its_headings() -> None:
    content = opendocument("text", p("T", "P1") + h("A") + p("a") + h("B", 2) + p("b"), styles=NUMBERED)
    assert read(content) == [Section("a", "text", ("T", "A")), Section("b", "text", ("T", "A", "B"))]
    assert title(content) == "T"


def test_lists_are_bulleted_or_numbered_by_their_style() -> None:
    body = items(p("a") + items(p("b")), p("c")) + items(p("d"), p("e") + p("more"), style="L1")
    assert [(one.kind, one.text) for one in read(opendocument("text", body, styles=NUMBERED))] == [
        ("list", "- a\n  - b\n- c"),
        ("list", "1. d\n2. e\n   more"),
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('a<text:s text:c="2"/>b<text:tab/>c<text:line-break/>d', "a  b\tc\nd"),
        ("a <text:span>b</text:span>\n   c<text:a>d</text:a>", "a b cd"),
        ("a<text:hidden-text>x</text:hidden-text><text:bookmark/>b", "ab"),
    ],
)
def test_a_paragraph_reads_as_its_reader_sees_it(content: str, expected: str) -> None:
    assert texts(opendocument("text", p(content))) == [expected]


def test_what_tracking_has_deleted_is_not_read() -> None:
    deleted = f"<text:tracked-changes><text:deletion>{p('old')}</text:deletion></text:tracked-changes>"
    assert texts(opendocument("text", deleted + p("new"))) == ["new"]


def test_notes_comments_and_boxes_follow_what_they_belong_to() -> None:
    cited = "<text:note-citation>1</text:note-citation>"
    note = f"<text:note>{cited}<text:note-body>{p('note')}</text:note-body></text:note>"
    comment = f"<office:annotation><creator>Ana</creator>{p('really?')}</office:annotation>"
    body = p("text" + note + comment + frame(p("boxed"))) + p("end")
    assert texts(opendocument("text", body)) == ["text", "note", "Comment (Ana): really?", "boxed", "end"]


def test_tables_and_sections_are_read() -> None:
    table = f"<table:table>{rows(('A', 'B'), ('1', '2'))}</table:table>"
    found = read(opendocument("text", f"<text:section>{p('a')}{table}</text:section>{table}"))
    assert [(one.kind, one.text) for one in found] == [("text", "a"), *[("table", "A | B\n1 | 2")] * 2]


def test_headers_and_footers_stand_once() -> None:
    ends = f"<style:header>{p('ACME')}</style:header><style:footer>{p('ACME')}{p('1')}</style:footer>"
    page = f"<office:master-styles><style:master-page>{ends}</style:master-page></office:master-styles>"
    common = {"styles.xml": xml_part("office:document-styles", page)}
    assert texts(opendocument("text", p("text"), members=common)) == ["ACME", "text"]


def test_a_sheet_is_a_page_under_its_name() -> None:
    sheets = "".join(f'<table:table table:name="{name}">{rows(("A", "B"), (name, "2"))}</table:table>' for name in "ST")
    assert read(opendocument("spreadsheet", sheets)) == [
        Section("A | B\nS | 2", "table", ("S",), 1),
        Section("A | B\nT | 2", "table", ("T",), 2),
    ]


def test_empty_cells_and_rows_cost_nothing_however_often_they_stand() -> None:
    empty = '<table:table-cell table:number-columns-repeated="16000"/>'
    full = "".join(f"<table:table-cell>{p(text)}</table:table-cell>" for text in "ab")
    last = f"<table:table-row>{empty}{full}</table:table-row>"
    blank = f'<table:table-row table:number-rows-repeated="1000000">{empty}</table:table-row>'
    sheet = f'<table:table table:name="S">{rows(("A", "B"))}{blank}{last}</table:table>'
    assert texts(opendocument("spreadsheet", sheet)) == ["A | B", "a | b"]


def test_repeated_cells_with_content_stand_as_often_as_they_say_within_reason() -> None:
    cell = f'<table:table-cell table:number-columns-repeated="3">{p("x")}</table:table-cell>'
    row = f'<table:table-row table:number-rows-repeated="1000000">{cell}</table:table-row>'
    found = texts(opendocument("spreadsheet", f'<table:table table:name="S">{row}</table:table>'))
    assert found[0].startswith("x | x | x\nx | x | x")
    assert sum(text.count("\n") + 1 for text in found) < 200


def test_dates_are_in_iso_form() -> None:
    value = 'office:value-type="date" office:date-value="2024-02-29T00:00:00"'
    date = f"<table:table-cell {value}>{p('29.2.')}</table:table-cell>"
    bare = '<table:table-cell office:value-type="float" office:value="2.50"/>'
    sheet = f'<table:table table:name="S"><table:table-row>{date}{bare}</table:table-row></table:table>'
    assert texts(opendocument("spreadsheet", sheet)) == ["2024-02-29 | 2.5"]


def test_a_slide_is_a_page_under_its_title_with_its_notes() -> None:
    notes = f"<presentation:notes>{frame(p('say this'), 'notes')}{frame(p('3'), 'page')}</presentation:notes>"
    one = f"<draw:page>{frame(items(p('a'), p('b')), 'outline')}{frame(p('T'), 'title')}{notes}</draw:page>"
    group = f"<draw:g><draw:custom-shape>{p('c')}</draw:custom-shape></draw:g>"
    two = f"<draw:page>{group}{frame(p('x'), 'footer')}</draw:page>"
    assert read(opendocument("presentation", one + two)) == [
        Section("- a\n- b", "list", ("T",), 1),
        Section("say this", "text", ("T",), 1),
        Section("c", "text", ("Slide 2",), 2),
    ]


def test_an_embedded_chart_is_its_title_and_its_data() -> None:
    chart = xml_part(
        "office:document-content",
        f"<title>{p('Sales')}</title><table:table>{rows(('', 'North'), ('Q1', '5'))}</table:table>",
    )
    holder = p('<draw:frame><draw:object xlink:href="./Object 1"/></draw:frame>')
    assert texts(opendocument("text", holder, members={"Object 1/content.xml": chart})) == ["Sales", " | North\nQ1 | 5"]


def test_templates_are_documents() -> None:
    template = {"mimetype": "application/vnd.oasis.opendocument.text-template"}
    assert texts(opendocument("text", p("text"), members=template)) == ["text"]


def test_a_document_under_a_password_says_so() -> None:
    entry = "<manifest:file-entry><manifest:encryption-data/></manifest:file-entry>"
    content = opendocument("text", p("x"), members={"META-INF/manifest.xml": xml_part("manifest:manifest", entry)})
    with pytest.raises(ExtractionError, match="password") as refused:
        texts(content)
    assert refused.value.code == "encrypted"


@pytest.mark.parametrize("members", [{}, {"content.xml": "no XML"}])
def test_a_document_without_content_is_corrupt(members: dict[str, str]) -> None:
    with pytest.raises(ExtractionError) as refused:
        texts(zipped({"mimetype": "application/vnd.oasis.opendocument.text", **members}))
    assert refused.value.code == "corrupt"
