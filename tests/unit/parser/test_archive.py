import io
import struct
import zipfile

import pytest

from services.parser.errors import ExtractionError
from services.parser.formats import archive
from services.parser.formats.archive import Archive


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def test_members_are_found_under_any_spelling() -> None:
    """Some writers put a leading slash, back slashes or other capitals into their names."""
    found = Archive(zipped({"/Word/document.xml": b"one", "word\\styles.xml": b"two"}))
    assert found.read("word/document.xml") == b"one"
    assert found.read("word/styles.xml") == b"two"
    assert "WORD/Document.xml" in found
    assert found.read("word/none.xml") is None


def test_a_name_that_climbs_out_is_only_a_name() -> None:
    found = Archive(zipped({"../../tmp/out.txt": b"x", "good.xml": b"y"}))
    assert found.names == ["../../tmp/out.txt", "good.xml"]
    assert found.read("good.xml") == b"y"


@pytest.mark.parametrize(("limit", "name"), [("MAX_WHOLE_BYTES", "a"), ("MAX_TOTAL_BYTES", "b")])
def test_a_bomb_is_refused_before_it_is_inflated(monkeypatch: pytest.MonkeyPatch, limit: str, name: str) -> None:
    monkeypatch.setattr(archive, limit, 1_500)
    bomb = Archive(zipped({"a": b"\0" * (1_000 + 1_000 * (name == "a")), "b": b"\0" * 1_000}))
    with pytest.raises(ExtractionError) as refused:
        bomb.read("a"), bomb.read("b")
    assert refused.value.code == "too_large"
    assert repr(name) in refused.value.message


def test_a_member_that_is_nothing_but_repetition_is_refused() -> None:
    bomb = Archive(zipped({"a": b"<p/>" * (5 << 20)}))
    with pytest.raises(ExtractionError, match="250 times") as refused:
        bomb.read("a")
    assert refused.value.code == "too_large"


def test_all_members_can_be_checked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_TOTAL_BYTES", 2_500)
    Archive(zipped({"a": bytes(1_000), "b": bytes(1_000)})).admit_all()
    with pytest.raises(ExtractionError, match="'c'"):
        Archive(zipped({"a": bytes(1_000), "b": bytes(1_000), "c": bytes(1_000)})).admit_all()


def test_a_member_never_yields_more_than_it_declares() -> None:
    """INVARIANT: a size that lies does not get past the limit."""
    content = zipped({"a": b"x" * 1_000_000})
    lying = content.replace(struct.pack("<I", 1_000_000), struct.pack("<I", 10))
    assert lying != content
    assert Archive(lying).read("a") == b"x" * 10


def test_a_damaged_member_is_read_up_to_its_damage() -> None:
    text = b"".join(b"line %d\n" % number for number in range(100_000))
    content = bytearray(zipped({"a": text}))
    content[len(content) // 2] ^= 0xFF
    found = Archive(bytes(content)).read("a")
    assert found
    assert text.startswith(found[:50_000])


def test_a_wrong_checksum_costs_nothing() -> None:
    content = zipped({"a": b"intact"}, zipfile.ZIP_STORED).replace(b"intact", b"edited")
    assert Archive(content).read("a") == b"edited"


def test_a_member_under_a_password_says_so() -> None:
    content = bytearray(zipped({"a": b"x"}))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + offset] |= 1
    with pytest.raises(ExtractionError, match="password") as refused:
        Archive(bytes(content)).read("a")
    assert refused.value.code == "encrypted"


@pytest.mark.parametrize(
    "content", [b"PK\x03\x04 and no more", zipped({"a": b"x"})[:-30], zipped({"a": b"x"}, zipfile.ZIP_BZIP2)]
)
def test_what_is_no_such_archive_is_corrupt(content: bytes) -> None:
    with pytest.raises(ExtractionError) as refused:
        Archive(content).read("a")
    assert refused.value.code == "corrupt"
