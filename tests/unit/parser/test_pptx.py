import pytest

from services.parser.document import Section
from services.parser.errors import ExtractionError
from tests.unit.parser.office_files import pptx, read, relationships, texts, title, xml_part, zipped

REFERENCE = "<{0}:graphicFrame><a:graphic><a:graphicData>{1}</a:graphicData></a:graphic></{0}:graphicFrame>"


def paragraph(text: str, level: int = 0) -> str:
    return f'<a:p><a:pPr lvl="{level}"/><a:r><a:t>{text}</a:t></a:r></a:p>'


def shape(*paragraphs: str, place: str | None = None) -> str:
    kind = f'<p:ph type="{place}"/>' if place else "<p:ph/>" if place == "" else ""
    lines = "".join(one if one.startswith("<") else paragraph(one) for one in paragraphs)
    return f"<p:sp><p:nvSpPr><p:cNvPr/><p:nvPr>{kind}</p:nvPr></p:nvSpPr><p:txBody>{lines}</p:txBody></p:sp>"


def test_a_slide_is_a_page_under_its_title() -> None:
    content = pptx(shape("Body") + shape("First", place="ctrTitle"), shape("Second", place="title") + shape("b"))
    assert read(content) == [
        Section("Body", "text", ("First",), 1),
        Section("b", "text", ("Second",), 2),
    ]
    assert title(content) == "First"


def test_a_slide_without_title_does_not_stand_under_the_one_before() -> None:
    content = pptx(shape("One", place="title") + shape("a"), "", shape("b"))
    assert [(one.text, one.heading_path, one.page) for one in read(content)] == [
        ("a", ("One",), 1),
        ("b", ("Slide 3",), 3),
    ]


def test_an_empty_presentation_has_no_text() -> None:
    with pytest.raises(ExtractionError) as refused:
        read(pptx(shape(" ", place="title"), shape("7", place="sldNum")))
    assert refused.value.code == "no_text"


def test_the_points_of_a_slide_are_a_list() -> None:
    found = read(pptx(shape("one", paragraph("two", 1), paragraph("three"), place="")))
    assert [(one.kind, one.text) for one in found] == [("list", "- one\n  - two\n- three")]


def test_groups_are_looked_into() -> None:
    group = f"<p:grpSp>{shape('a')}<p:grpSp>{shape('b')}</p:grpSp></p:grpSp>"
    variants = f"<mc:Choice>{shape('c')}</mc:Choice><mc:Fallback>{shape('c')}</mc:Fallback>"
    both = f"<mc:AlternateContent>{variants}</mc:AlternateContent>"
    assert texts(pptx(group + both)) == ["a", "b", "c"]


def test_a_line_break_and_a_field_are_text() -> None:
    body = "<a:p><a:r><a:t>a</a:t></a:r><a:br/><a:fld><a:t>2026</a:t></a:fld></a:p>"
    assert texts(pptx(shape(body))) == ["a\n2026"]


def test_tables_have_a_line_for_each_row_and_merged_cells_once() -> None:
    cell = "<a:tc {1}><a:txBody>{0}</a:txBody></a:tc>"
    first = cell.format(paragraph("A"), "gridSpan='2'") + cell.format(paragraph("A"), "hMerge='1'")
    second = cell.format(paragraph("1"), "") + cell.format(paragraph("2"), "")
    table = f"<a:tbl><a:tr>{first}</a:tr><a:tr>{second}</a:tr></a:tbl>"
    found = read(pptx(REFERENCE.format("p", table)))
    assert [(one.kind, one.text, one.page) for one in found] == [("table", "A | \n1 | 2", 1)]


def points(*values: str) -> str:
    numbered = "".join(f'<c:pt idx="{index}"><c:v>{value}</c:v></c:pt>' for index, value in enumerate(values) if value)
    return f"<c:strRef><c:strCache>{numbered}</c:strCache></c:strRef>"


def test_a_chart_is_its_titles_and_its_data() -> None:
    categories, values = points("Q1", "Q2", "Q3"), points("1", "", "3")
    one = f"<c:ser><c:tx>{points('North')}</c:tx><c:cat>{categories}</c:cat><c:val>{values}</c:val></c:ser>"
    two = f"<c:ser><c:tx><c:v>South</c:v></c:tx><c:val>{points('4', '5')}</c:val></c:ser>"
    chart = xml_part(
        "c:chartSpace", f"<c:chart><c:title>{paragraph('Sales')}</c:title><c:plotArea>{one}{two}</c:plotArea></c:chart>"
    )
    parts = {
        "ppt/slides/_rels/slide1.xml.rels": relationships(("chart", "../charts/chart1.xml")),
        "ppt/charts/chart1.xml": chart,
    }
    found = read(pptx(REFERENCE.format("p", '<c:chart r:id="rId1"/>'), parts=parts))
    assert [(section.kind, section.text) for section in found] == [
        ("text", "Sales"),
        ("table", " | North | South\nQ1 | 1 | 4\nQ2 |  | 5\nQ3 | 3 |"),
    ]


def test_a_diagram_is_its_texts() -> None:
    parts = {
        "ppt/slides/_rels/slide1.xml.rels": relationships(("diagramData", "/ppt/diagrams/data1.xml")),
        "ppt/diagrams/data1.xml": xml_part("dgm:dataModel", paragraph("plan") + paragraph("do")),
    }
    assert texts(pptx(REFERENCE.format("p", '<dgm:relIds r:dm="rId1"/>'), parts=parts)) == ["plan\ndo"]


def test_notes_and_comments_follow_their_slide() -> None:
    notes = f"<p:cSld><p:spTree>{shape('say this', place='body')}{shape('1', place='sldNum')}</p:spTree></p:cSld>"
    parts = {
        "ppt/slides/_rels/slide1.xml.rels": relationships(
            ("notesSlide", "../notesSlides/n1.xml"), ("comments", "../c1.xml")
        ),
        "ppt/notesSlides/n1.xml": xml_part("p:notes", notes),
        "ppt/c1.xml": xml_part("p:cmLst", "<p:cm><p:text>why?</p:text></p:cm>"),
    }
    found = read(pptx(shape("a", place="title") + shape("b"), shape("c"), parts=parts))
    assert [(one.text, one.page) for one in found] == [("b", 1), ("say this", 1), ("Comment: why?", 1), ("c", 2)]


def test_slides_are_found_by_name_where_the_order_is_lost() -> None:
    slide = xml_part("p:sld", f"<p:cSld><p:spTree>{shape('{}')}</p:spTree></p:cSld>")
    slides = {f"ppt/slides/slide{number}.xml": slide.format(number) for number in (10, 2, 1)}
    assert texts(zipped({"ppt/presentation.xml": xml_part("p:presentation"), **slides})) == ["1", "2", "10"]
