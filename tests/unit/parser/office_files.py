"""Office files made by hand, as small as each test allows."""

import io
import struct
import zipfile
from collections.abc import Mapping

from services.parser.document import Section
from services.parser.extraction import open_document
from tests.unit.parser.bodies import without_headings

RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE_RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
_DECLARED = " ".join(
    f'xmlns:{prefix}="{uri}"'
    for prefix, uri in {
        "w": "http://schemas.openxmlformats.org/wordprocessingml/2006/main",
        "a": "http://schemas.openxmlformats.org/drawingml/2006/main",
        "c": "http://schemas.openxmlformats.org/drawingml/2006/chart",
        "m": "http://schemas.openxmlformats.org/officeDocument/2006/math",
        "p": "http://schemas.openxmlformats.org/presentationml/2006/main",
        "s": "http://schemas.openxmlformats.org/spreadsheetml/2006/main",
        "mc": "http://schemas.openxmlformats.org/markup-compatibility/2006",
        "dc": "http://purl.org/dc/elements/1.1/",
        "dgm": "http://schemas.openxmlformats.org/drawingml/2006/diagram",
        "r": RELATIONS,
        **{
            prefix: f"urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"
            for prefix, name in {
                "office": "office",
                "text": "text",
                "table": "table",
                "draw": "drawing",
                "style": "style",
                "presentation": "presentation",
                "manifest": "manifest",
            }.items()
        },
        "xlink": "http://www.w3.org/1999/xlink",
    }.items()
)


def xml_part(root: str, content: str = "", attributes: str = "") -> str:
    """Return a part whose root knows all prefixes."""
    return f'<?xml version="1.0" encoding="UTF-8"?><{root} {_DECLARED} {attributes}>{content}</{root}>'


def zipped(parts: Mapping[str, str | bytes]) -> bytes:
    """Return a zip file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in parts.items():
            file.writestr(name, content)
    return buffer.getvalue()


def relationships(*links: tuple[str, str], mode: str = "Internal") -> str:
    """Return a relationships part with links (kind, target) under the ids rId1, rId2, ..."""
    rows = (
        f'<Relationship Id="rId{number}" Type="{RELATIONS}/{kind}" Target="{target}" TargetMode="{mode}"/>'
        for number, (kind, target) in enumerate(links, 1)
    )
    return f'<Relationships xmlns="{_PACKAGE_RELATIONS}">{"".join(rows)}</Relationships>'


def package(
    main: str, content_type: str, parts: Mapping[str, str | bytes], links: tuple[tuple[str, str], ...]
) -> bytes:
    """Return an Office Open XML package; `links` are those of the main part."""
    folder, _, name = main.rpartition("/")
    types = f'<Types><Override PartName="/{main}" ContentType="application/{content_type}"/></Types>'
    return zipped(
        {
            "[Content_Types].xml": types,
            "_rels/.rels": relationships(("officeDocument", main), ("metadata/core-properties", "docProps/core.xml")),
            f"{folder}/_rels/{name}.rels": relationships(*links),
            **parts,
        }
    )


def docx(body: str, links: tuple[tuple[str, str], ...] = (), **parts: str) -> bytes:
    """Return a Word document; other parts are named without folder and extension."""
    main = "vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    others = {f"word/{name}.xml": part for name, part in parts.items()}
    document = xml_part("w:document", f"<w:body>{body}<w:sectPr/></w:body>")
    return package("word/document.xml", main, {"word/document.xml": document, **others}, links)


def pptx(*slides: str, parts: Mapping[str, str] | None = None) -> bytes:
    """Return a presentation of these shapes (the content of `p:spTree`)."""
    links = tuple(("slide", f"slides/slide{number}.xml") for number, _ in enumerate(slides, 1))
    ids = "".join(f'<p:sldId id="{255 + number}" r:id="rId{number}"/>' for number, _ in enumerate(slides, 1))
    pages = {
        f"ppt/slides/slide{number}.xml": xml_part("p:sld", f"<p:cSld><p:spTree>{shapes}</p:spTree></p:cSld>")
        for number, shapes in enumerate(slides, 1)
    }
    main = xml_part("p:presentation", f"<p:sldIdLst>{ids}</p:sldIdLst>")
    kind = "vnd.openxmlformats-officedocument.presentationml.presentation.main+xml"
    return package("ppt/presentation.xml", kind, {"ppt/presentation.xml": main, **pages, **(parts or {})}, links)


def xlsx(sheets: Mapping[str, str], parts: Mapping[str, str] | None = None, state: str = "visible") -> bytes:
    """Return a workbook of sheets by name (the content of `s:sheetData`); `state` is that of the last one."""
    links = [("worksheet", f"worksheets/sheet{number}.xml") for number, _ in enumerate(sheets, 1)]
    links += [("sharedStrings", "sharedStrings.xml"), ("styles", "styles.xml")]
    states = ["visible"] * (len(sheets) - 1) + [state]
    listed = "".join(
        f'<s:sheet name="{name}" sheetId="{number}" state="{shown}" r:id="rId{number}"/>'
        for number, (name, shown) in enumerate(zip(sheets, states, strict=True), 1)
    )
    pages = {
        f"xl/worksheets/sheet{number}.xml": xml_part("s:worksheet", f"<s:sheetData>{rows}</s:sheetData>")
        for number, rows in enumerate(sheets.values(), 1)
    }
    main = xml_part("s:workbook", f"<s:sheets>{listed}</s:sheets>")
    kind = "vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"
    return package("xl/workbook.xml", kind, {"xl/workbook.xml": main, **pages, **(parts or {})}, tuple(links))


def opendocument(kind: str, body: str, styles: str = "", members: Mapping[str, str] | None = None) -> bytes:
    """Return an OpenDocument file of that kind (text, spreadsheet, presentation)."""
    content = xml_part(
        "office:document-content",
        f"<office:automatic-styles>{styles}</office:automatic-styles>"
        f"<office:body><office:{kind}>{body}</office:{kind}></office:body>",
    )
    named = {"mimetype": f"application/vnd.oasis.opendocument.{kind}", "content.xml": content}
    return zipped(named | dict(members or {}))


def ole(streams: Mapping[str, bytes]) -> bytes:
    """Return an OLE2 container; streams are padded so that all lie in whole sectors."""
    padded = {
        name: content.ljust(4096, b"\0").ljust(-(-len(content) // 512) * 512, b"\0")
        for name, content in streams.items()
    }
    directory_sectors = -(-(len(streams) + 1) // 4)
    fat = [0xFFFFFFFD, *range(2, directory_sectors + 1), 0xFFFFFFFE]
    entries = [_entry("Root Entry", 5, child=1, start=0xFFFFFFFE, size=0)]
    for number, (name, content) in enumerate(padded.items(), 1):
        start, sectors = len(fat), len(content) // 512
        fat += [*range(start + 1, start + sectors), 0xFFFFFFFE]
        right = number + 1 if number < len(padded) else 0xFFFFFFFF
        entries.append(_entry(name, 2, right=right, start=start, size=len(content)))
    assert len(fat) <= 128
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    header += struct.pack("<9I", 0, 1, 1, 0, 4096, 0xFFFFFFFE, 0, 0xFFFFFFFE, 0) + struct.pack(
        "<109I", 0, *[0xFFFFFFFF] * 108
    )
    table = struct.pack("<128I", *fat, *[0xFFFFFFFF] * (128 - len(fat)))
    return header + table + b"".join(entries).ljust(512 * directory_sectors, b"\0") + b"".join(padded.values())


def _entry(name: str, kind: int, *, right: int = 0xFFFFFFFF, child: int = 0xFFFFFFFF, start: int, size: int) -> bytes:
    encoded = (name + "\0").encode("utf-16-le")
    links = struct.pack("<HBBIII", len(encoded), kind, 1, 0xFFFFFFFF, right, child)
    return encoded.ljust(64, b"\0") + links + bytes(36) + struct.pack("<IQ", start, size)


def read(content: bytes) -> list[Section]:
    """Return what stands under the headings of a file, as the parser service reads it."""
    return without_headings(open_document(content).sections)


def texts(content: bytes) -> list[str]:
    """Return the texts of the sections."""
    return [section.text for section in read(content)]


def title(content: bytes) -> str | None:
    """Return the title of a file."""
    return open_document(content).title
