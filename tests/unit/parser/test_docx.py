import pytest

from services.parser.document import Section
from services.parser.errors import ExtractionError
from tests.unit.parser.office_files import docx, package, read, relationships, texts, title, xml_part, zipped

STYLES = xml_part(
    "w:styles",
    '<w:style w:styleId="Titel"><w:name w:val="Title"/></w:style>'
    '<w:style w:styleId="berschrift1"><w:name w:val="heading 1"/></w:style>'
    '<w:style w:styleId="Mine"><w:name w:val="My part"/><w:basedOn w:val="berschrift1"/></w:style>'
    '<w:style w:styleId="Outlined"><w:name w:val="Other"/><w:pPr><w:outlineLvl w:val="1"/></w:pPr></w:style>'
    '<w:style w:styleId="Bullets"><w:name w:val="List Bullet"/>'
    "<w:pPr><w:numPr><w:numId w:val='2'/></w:numPr></w:pPr></w:style>"
    '<w:style w:styleId="Loop"><w:name w:val="Loop"/><w:basedOn w:val="Loop"/></w:style>',
)
NUMBERING = xml_part(
    "w:numbering",
    '<w:abstractNum w:abstractNumId="7">'
    '<w:lvl w:ilvl="0"><w:start w:val="1"/><w:numFmt w:val="decimal"/><w:lvlText w:val="%1."/></w:lvl>'
    '<w:lvl w:ilvl="1"><w:start w:val="1"/><w:numFmt w:val="lowerRoman"/><w:lvlText w:val="%1.%2)"/></w:lvl>'
    "</w:abstractNum>"
    '<w:abstractNum w:abstractNumId="8"><w:lvl w:ilvl="0"><w:numFmt w:val="bullet"/></w:lvl></w:abstractNum>'
    '<w:num w:numId="1"><w:abstractNumId w:val="7"/></w:num><w:num w:numId="2"><w:abstractNumId w:val="8"/></w:num>',
)
LINKS = (("styles", "styles.xml"), ("numbering", "numbering.xml"))


def p(content: str, style: str = "", properties: str = "") -> str:
    named = f'<w:pStyle w:val="{style}"/>' if style else ""
    runs = content if content.startswith("<") else f"<w:r><w:t>{content}</w:t></w:r>"
    return f"<w:p><w:pPr>{named}{properties}</w:pPr>{runs}</w:p>"


def item(text: str, list_id: int = 1, level: int = 0) -> str:
    return p(text, properties=f'<w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="{list_id}"/></w:numPr>')


def table(*rows: tuple[str, ...]) -> str:
    lines = ("".join(f"<w:tc>{cell if cell.startswith('<') else p(cell)}</w:tc>" for cell in row) for row in rows)
    return "<w:tbl><w:tblPr/>" + "".join(f"<w:tr>{line}</w:tr>" for line in lines) + "</w:tbl>"


def styled(body: str) -> bytes:
    return docx(body, LINKS, styles=STYLES, numbering=NUMBERING)


def test_headings_come_from_styles_in_any_language_and_from_outline_levels() -> None:
    outline = '<w:outlineLvl w:val="2"/>'
    body = [
        p("T", "Titel"),
        p("A", "berschrift1"),
        p("a"),
        p("B", "Outlined"),
        p("b"),
        p("C", properties=outline),
        p("c"),
    ]
    found = read(styled("".join(body) + p("D", "Mine") + p("d", "Loop")))
    assert [(one.text, one.heading_path) for one in found] == [
        ("a", ("T", "A")),
        ("b", ("T", "A", "B")),
        ("c", ("T", "A", "B", "C")),
        ("d", ("T", "D")),
    ]


def test_headings_are_told_by_their_ids_where_the_styles_are_missing() -> None:
    assert read(docx(p("A", "Heading1") + p("a"))) == [Section("a", "text", ("A",))]


def test_lists_have_the_labels_that_word_shows() -> None:
    body = item("one") + item("two") + item("in", level=1) + item("in too", level=1) + item("three") + p("end")
    assert [(one.kind, one.text) for one in read(styled(body))] == [
        ("list", "1. one\n2. two\n  2.i) in\n  2.ii) in too\n3. three"),
        ("text", "end"),
    ]


def test_bullets_may_come_from_the_style() -> None:
    assert texts(styled(p("a", "Bullets") + p("b", "Bullets"))) == ["- a\n- b"]


def test_numbered_headings_keep_their_numbers() -> None:
    heading = '<w:numPr><w:numId w:val="1"/></w:numPr>'
    assert read(styled(p("Scope", "berschrift1", heading) + p("a")))[0].heading_path == ("1. Scope",)


def test_tables_have_a_line_for_each_row() -> None:
    body = table(("A", "B"), ("1", p("x") + p("y"))) + p("between") + table(("C", "D"), ("", ""))
    assert [(one.kind, one.text) for one in read(docx(body))] == [
        ("table", "A | B\n1 | x y"),
        ("text", "between"),
        ("table", "C | D"),
    ]


def test_a_table_of_one_cell_is_layout() -> None:
    inner = p("Part", "Heading1") + p("text") + table(("1", "2"))
    assert read(docx(table((inner,)))) == [Section("text", "text", ("Part",)), Section("1 | 2", "table", ("Part",))]


def test_a_table_inside_a_cell_is_part_of_the_cell() -> None:
    assert texts(docx(table(("1", table(("2", "3")) + p("4"))))) == ["1 | 2 3 4"]


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ("<w:ins><w:r><w:t>new</w:t></w:r></w:ins><w:del><w:r><w:delText>old</w:delText></w:r></w:del>", "new"),
        (
            "<w:moveFrom><w:r><w:t>here</w:t></w:r></w:moveFrom><w:moveTo><w:r><w:t>there</w:t></w:r></w:moveTo>",
            "there",
        ),
        ("<w:r><w:rPr><w:vanish/></w:rPr><w:t>hidden</w:t></w:r><w:r><w:t>shown</w:t></w:r>", "shown"),
        ('<w:r><w:rPr><w:vanish w:val="0"/></w:rPr><w:t>shown</w:t></w:r>', "shown"),
        ("<w:hyperlink r:id='rId9'><w:r><w:t>a link</w:t></w:r></w:hyperlink>", "a link"),
        ("<w:r><w:instrText>PAGE</w:instrText></w:r><w:fldSimple><w:r><w:t>7</w:t></w:r></w:fldSimple>", "7"),
        ("<w:r><w:t>a</w:t><w:tab/><w:t>b</w:t><w:br/><w:t>c</w:t><w:noBreakHyphen/><w:t>d</w:t></w:r>", "a\tb\nc-d"),
        ("<w:sdt><w:sdtPr/><w:sdtContent><w:r><w:t>field</w:t></w:r></w:sdtContent></w:sdt>", "field"),
        (
            "<m:oMath><m:f><m:num><m:r><m:t>a</m:t></m:r></m:num><m:den><m:r><m:t>b</m:t></m:r></m:den></m:f></m:oMath>",
            "a/b",
        ),
    ],
)
def test_a_paragraph_reads_as_its_reader_sees_it(run: str, expected: str) -> None:
    assert texts(docx(p(run))) == [expected]


def test_a_text_box_is_read_once_and_behind_its_paragraph() -> None:
    box = f"<w:txbxContent>{p('in the box')}</w:txbxContent>"
    both = f"<mc:AlternateContent><mc:Choice>{box}</mc:Choice><mc:Fallback>{box}</mc:Fallback></mc:AlternateContent>"
    assert texts(docx(p(f"<w:r><w:t>around</w:t>{both}</w:r>") + p("after"))) == ["around", "in the box", "after"]


def test_notes_and_comments_follow_what_they_belong_to() -> None:
    references = '<w:r><w:t>text</w:t><w:footnoteReference w:id="2"/><w:commentReference w:id="0"/></w:r>'
    links = (("footnotes", "footnotes.xml"), ("comments", "comments.xml"))
    separator = f'<w:footnote w:id="0" w:type="separator">{p("line")}</w:footnote>'
    footnotes = xml_part("w:footnotes", f'{separator}<w:footnote w:id="2">{p("a note")}</w:footnote>')
    comments = xml_part("w:comments", f'<w:comment w:id="0" w:author="Ana">{p("really?")}</w:comment>')
    body = p(references) + table((p(references), "cell")) + p("end")
    assert texts(docx(body, links, footnotes=footnotes, comments=comments)) == [
        *("text", "a note", "Comment (Ana): really?"),
        *("text | cell", "a note", "Comment (Ana): really?", "end"),
    ]


def test_headers_and_footers_stand_once_before_the_text() -> None:
    links = (("header", "h1.xml"), ("header", "h2.xml"), ("footer", "f1.xml"))
    header, footer = xml_part("w:hdr", p("ACME Ltd")), xml_part("w:ftr", p("Confidential") + p("1"))
    found = docx(p("A", "Heading1") + p("text"), links, h1=header, h2=header, f1=footer)
    assert texts(found) == ["ACME Ltd", "Confidential", "text"]


def test_block_level_wrappers_are_looked_through() -> None:
    wrapped = f"<w:sdt><w:sdtPr/><w:sdtContent>{p('one')}</w:sdtContent></w:sdt><w:customXml>{p('two')}</w:customXml>"
    assert texts(docx(wrapped)) == ["one", "two"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [("Plan 2026", "Plan 2026"), ("Microsoft Word - draft.doc", "T"), ("Document1", "T"), ("  ", "T"), (None, "T")],
)
def test_the_title_is_among_the_properties_or_in_the_text(written: str | None, expected: str) -> None:
    core = {"docProps/core.xml": xml_part("dc:core", f"<dc:title>{written}</dc:title>")} if written else {}
    document = xml_part("w:document", f"<w:body>{p('T', 'Title')}{p('a')}</w:body>")
    content = package("word/document.xml", "x", {"word/document.xml": document, **core}, ())
    assert title(content) == expected


@pytest.mark.parametrize(
    "links",
    [
        (("styles", "gone.xml"), ("footnotes", "../../../etc/passwd"), ("comments", "")),
        (("styles", "document.xml"), ("numbering", "document.xml")),
    ],
)
def test_missing_and_wrong_parts_cost_only_themselves(links: tuple[tuple[str, str], ...]) -> None:
    assert texts(docx(p('<w:r><w:t>text</w:t><w:footnoteReference w:id="1"/></w:r>'), links)) == ["text"]


def test_a_package_without_relationships_is_read() -> None:
    content = zipped({"word/document.xml": xml_part("w:document", f"<w:body>{p('text')}</w:body>")})
    assert texts(content) == ["text"]


def test_the_strict_edition_is_read() -> None:
    body = xml_part("w:document", f"<w:body>{p('text')}</w:body>").replace(
        "http://schemas.openxmlformats.org/wordprocessingml/2006/main",
        "http://purl.oclc.org/ooxml/wordprocessingml/main",
    )
    links = relationships(("officeDocument", "word/document.xml")).replace(
        "http://schemas.openxmlformats.org/officeDocument/2006", "http://purl.oclc.org/ooxml/officeDocument"
    )
    assert texts(zipped({"_rels/.rels": links, "word/document.xml": body})) == ["text"]


def test_a_document_that_is_cut_off_is_read_up_to_there() -> None:
    whole = xml_part("w:document", f"<w:body>{p('one')}{p('two')}")
    content = zipped({"word/document.xml": whole.removesuffix("</w:document>")})
    assert texts(content) == ["one", "two"]


@pytest.mark.parametrize(
    "parts", [{"word/styles.xml": "x"}, {"word/document.xml": "no XML"}, {"word/document.xml": ""}]
)
def test_a_package_without_a_text_is_corrupt(parts: dict[str, str]) -> None:
    with pytest.raises(ExtractionError) as refused:
        texts(zipped(parts))
    assert refused.value.code == "corrupt"


def test_a_container_that_is_cut_off_is_a_damaged_document_not_a_foreign_one() -> None:
    with pytest.raises(ExtractionError) as refused:
        texts(styled(p("text"))[:-40])
    assert refused.value.code == "corrupt"
