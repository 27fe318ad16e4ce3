import io
import zipfile

import pytest

from services.parser.document import Section, Source
from services.parser.errors import ExtractionError
from services.parser.formats.epub import extract
from tests.unit.parser.bodies import bodies

CONTAINER = "<container><rootfiles><rootfile full-path='OEBPS/book.opf'/></rootfiles></container>"
XHTML = '<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title/></head><body>{}</body></html>'


def book(chapters: dict[str, str], spine: str, extra: dict[str, str] | None = None, items: str = "") -> bytes:
    manifest = "".join(f"<item id='{name}' href='{name}' media-type='application/xhtml+xml'/>" for name in chapters)
    package = (
        "<package xmlns='http://www.idpf.org/2007/opf'><metadata xmlns:dc='http://purl.org/dc/elements/1.1/'>"
        f"<dc:title>The Book</dc:title></metadata><manifest>{manifest}{items}</manifest>"
        f"<spine>{''.join(f'<itemref idref={name!r}/>' for name in spine.split())}</spine></package>"
    )
    members = {"META-INF/container.xml": CONTAINER, "OEBPS/book.opf": package}
    members |= {f"OEBPS/{name}": XHTML.format(text) for name, text in chapters.items()}
    return zipped(members | (extra or {}))


def zipped(members: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def sections(content: bytes) -> list[Section]:
    return list(bodies(extract(Source(content, "application/epub+zip")).blocks))


def test_chapters_come_in_the_order_of_the_spine() -> None:
    content = book({"a.xhtml": "<h1>A</h1><p>a", "b.xhtml": "<h1>B</h1><p>b"}, "b.xhtml a.xhtml")
    assert extract(Source(content, "application/epub+zip")).title == "The Book"
    assert sections(content) == [Section("b", "text", ("B",)), Section("a", "text", ("A",))]


@pytest.mark.parametrize("contents", ["nav", "ncx"])
def test_a_chapter_without_a_heading_has_the_one_of_the_contents(contents: str) -> None:
    nav = XHTML.format("<nav><a href='text%20a.xhtml'>Chapter <b>A</b></a><a href='text%20a.xhtml#x'>Part</a></nav>")
    point = "<navPoint><navLabel><text>Chapter A</text></navLabel><content src='text a.xhtml'/></navPoint>"
    ncx = f"<ncx><navMap>{point}</navMap></ncx>"
    member = {"nav": nav, "ncx": ncx}[contents]
    items = {
        "nav": "<item id='n' href='toc' properties='nav' media-type='application/xhtml+xml'/>",
        "ncx": "<item id='n' href='toc' media-type='application/x-dtbncx+xml'/>",
    }[contents]
    content = book({"text a.xhtml": "<p>a"}, "", {"OEBPS/toc": member}, items)
    assert sections(content) == [Section("a", "text", ("Chapter A",))]


def test_tags_that_close_themselves_swallow_nothing() -> None:
    content = book({"a.xhtml": "<h1><a id='x'/>A</h1><p>a<br/>b</p><script src='x'/><p>c</p>"}, "a.xhtml")
    assert [section.text for section in sections(content)] == ["a\nb", "c"]


def test_a_book_without_a_package_is_read_by_file_name() -> None:
    content = zipped({"mimetype": "application/epub+zip", "b.html": "<p>two", "a.xhtml": "<p>one"})
    assert [section.text for section in sections(content)] == ["one", "two"]


def test_missing_chapters_are_left_out() -> None:
    content = book(
        {"a.xhtml": "<p>a"},
        "gone.xhtml a.xhtml",
        items="<item id='gone.xhtml' href='gone.xhtml' media-type='text/html'/>",
    )
    assert [section.text for section in sections(content)] == ["a"]


def test_copy_protection_is_named_and_scrambled_fonts_are_not() -> None:
    def encryption(member: str) -> dict[str, str]:
        reference = f"<CipherData><CipherReference URI='{member}'/></CipherData>"
        return {"META-INF/encryption.xml": f"<encryption><EncryptedData>{reference}</EncryptedData></encryption>"}

    assert sections(book({"a.xhtml": "<p>a"}, "a.xhtml", encryption("OEBPS/font.otf")))
    with pytest.raises(ExtractionError) as refused:
        sections(book({"a.xhtml": "<p>a"}, "a.xhtml", encryption("OEBPS/a.xhtml")))
    assert refused.value.code == "encrypted"


@pytest.mark.parametrize("content", [zipped({"mimetype": "application/epub+zip"}), b"PK\x03\x04 broken"])
def test_a_book_without_chapters_is_corrupt(content: bytes) -> None:
    with pytest.raises(ExtractionError) as refused:
        sections(content)
    assert refused.value.code == "corrupt"
