import io
from pathlib import Path

import pytest

from services.parser.errors import ExtractionError
from services.parser.formats import xml
from services.parser.formats.archive import MemberStream


def streamed(content: bytes, *containers: str) -> list[str]:
    found = xml.stream(MemberStream(io.BytesIO(content)), containers)
    return [f"{xml.name(element)}:{''.join(map(str, element.itertext()))}" for element in found]


def test_the_outermost_elements_come_one_by_one() -> None:
    content = b"<d xmlns='urn:x'><b><p>1</p><t><r>2</r><r>3</r></t><p>4<p>5</p></p></b><e/></d>"
    assert streamed(content, "d", "b", "t") == ["p:1", "r:2", "r:3", "p:45", "e:"]


def test_memory_stays_flat_however_long_the_part() -> None:
    paragraph = b"<p><t>text</t></p>"
    content = b"<d>" + paragraph * 20_000 + b"</d>"
    parents = (element.getparent() for element in xml.stream(MemberStream(io.BytesIO(content)), {"d"}))
    read_ahead = (32 << 10) // len(paragraph)
    assert max(len(parent) for parent in parents if parent is not None) < 2 * read_ahead


@pytest.mark.parametrize(
    "content", [b"<d><p>1</p><p>2</p>", b"<d><p>1</p><p>2</q></p>", b"<d><p>1</p><p>2</p></d>junk"]
)
def test_damaged_xml_is_read_as_far_as_possible(content: bytes) -> None:
    assert streamed(content, "d")[:2] == ["p:1", "p:2"]


@pytest.mark.parametrize("content", [b"", b"no markup", b"\0\1\2"])
def test_no_xml_at_all_is_corrupt(content: bytes) -> None:
    assert xml.parse(content) is None
    with pytest.raises(ExtractionError) as refused:
        streamed(content)
    assert refused.value.code == "corrupt"


LAUGHS = b"<!DOCTYPE d [<!ENTITY a 'ha'>%s]><d><p z='&j;'>&j;</p><p>end</p></d>" % b"".join(
    b"<!ENTITY %c '%s'>" % (letter, b"&%c;" % (letter - 1) * 10) for letter in b"bcdefghij"
)


def test_entities_are_never_expanded() -> None:
    """INVARIANT: a billion laughs stay as small as they are written."""
    root = xml.parse(LAUGHS)
    assert root is not None
    assert "ha" not in "".join(map(str, root.itertext()))
    assert "ha" not in "".join(streamed(LAUGHS, "d"))


def test_nothing_outside_is_read(tmp_path: Path) -> None:
    """INVARIANT: neither entities nor DTDs bring in files."""
    secret = tmp_path / "secret"
    secret.write_text("planted-secret")
    content = f"<!DOCTYPE d [<!ENTITY % p SYSTEM '{secret}'>%p;<!ENTITY x SYSTEM 'file://{secret}'>]><d><p>&x;</p></d>"
    assert "planted" not in "".join(streamed(content.encode(), "d"))
    root = xml.parse(content.encode())
    assert root is None or "planted" not in "".join(map(str, root.itertext()))


def test_endless_nesting_ends() -> None:
    assert len(streamed(b"<d>" + b"<p>" * 100_000, "d")) <= 1


def test_names_need_no_namespace() -> None:
    root = xml.parse(b"<w:d xmlns:w='urn:w' w:kind='a'><w:p><w:r>1</w:r></w:p><r xmlns='urn:other'>2</r></w:d>")
    assert xml.attribute(root, "kind") == "a"
    assert xml.attribute(xml.find(root, "p", "r"), "kind") is None
    assert [element.text for element in xml.named(root, "r")] == ["1", "2"]
    assert xml.find(root, "none", "r") is None
