# ruff: noqa: RUF001 - letters of other alphabets are what this is about.
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.parser.text_encoding import text_encoding

ENGLISH = "All human beings are born free and equal in dignity and rights.\nThey are endowed with reason."
FRENCH = "Le garçon a été déçu par la façon dont l’élève « a répondu » à la question. Où étiez-vous ? Ça coûte 15 €."
POLISH = "Zażółć gęślą jaźń. Książka leży na półce, a chłopiec śpi. Źródło światła jest ważne."
RUSSIAN = "Все люди рождаются свободными и равными в своем достоинстве и правах."
GREEK = "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα."
ARABIC = "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق. وقد وهبوا عقلا وضميرا."
JAPANESE = "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。\n"
CHINESE = "人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心,并应以兄弟关系的精神相对待。\n"
TRADITIONAL = "人人生而自由,在尊嚴和權利上一律平等。他們賦有理性和良心,並應以兄弟關係的精神互相對待。"
SWEDISH = "Det är en ö i ån. Räksmörgås på bordet, så är det."
TURKISH = "Türkiye'nin en büyük şehri İstanbul'dur. Güneşli bir gün, çocuklar ağaçta."
HEBREW = "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם."
THAI = "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักด"
UKRAINIAN = "Всі люди народжуються вільними і рівними у своїй гідності та правах. Їжак."
KOREAN = "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다."

UNICODE = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
LEGACY = [
    (FRENCH, "cp1252"),
    (FRENCH.replace("’", "'").replace("€", "F"), "latin-1"),
    (POLISH, "cp1250"),
    (POLISH, "iso8859-2"),
    (RUSSIAN, "cp1251"),
    (RUSSIAN, "koi8-r"),
    (RUSSIAN, "iso8859-5"),
    (RUSSIAN, "cp866"),
    (GREEK, "cp1253"),
    (ARABIC, "cp1256"),
    (JAPANESE, "shift_jis"),
    (JAPANESE, "euc-jp"),
    (JAPANESE, "iso2022-jp"),
    (CHINESE, "gb18030"),
    (KOREAN, "euc-kr"),
    (TRADITIONAL, "big5"),
    (SWEDISH, "latin-1"),
    (TURKISH, "cp1254"),
    (HEBREW, "cp1255"),
    (THAI, "cp874"),
    (UKRAINIAN, "koi8-u"),
]


def read(content: bytes, declared: str | None = None) -> str:
    codec = text_encoding(content, declared)
    assert codec is not None
    return content.decode(codec, "replace")


@pytest.mark.parametrize("codec", UNICODE)
@pytest.mark.parametrize("text", [ENGLISH, FRENCH, RUSSIAN, ARABIC, CHINESE + ENGLISH], ids=lambda text: text[:12])
def test_unicode_is_read_with_and_without_a_byte_order_mark(text: str, codec: str) -> None:
    assert read(text.encode(codec)) == text


@pytest.mark.parametrize(("text", "codec"), LEGACY, ids=[codec for _, codec in LEGACY])
@pytest.mark.parametrize("times", [1, 500])
def test_legacy_encodings_are_recognised_by_their_letters(text: str, codec: str, times: int) -> None:
    assert read(text.encode(codec) * times) == text * times


@pytest.mark.parametrize(("text", "codec"), LEGACY, ids=[codec for _, codec in LEGACY])
def test_one_line_among_english_ones_is_enough(text: str, codec: str) -> None:
    report = ENGLISH * 20 + "\n" + text
    assert read(report.encode(codec)) == report


@pytest.mark.parametrize("codec", ["cp1255", "iso8859-15", "mac-roman", "big5"])
def test_a_declared_encoding_is_followed(codec: str) -> None:
    text = {"cp1255": "כל בני האדם", "big5": "人人生而自由"}.get(codec, "garçon")
    assert read(text.encode(codec), codec) == text


@pytest.mark.parametrize(
    "declaration", ['<meta charset="windows-1255">', "<?xml version='1.0' encoding='windows-1255'?>"]
)
def test_an_encoding_that_the_document_names_is_followed(declaration: str) -> None:
    text = declaration + "כל בני האדם"
    assert read(text.encode("cp1255")) == text


@pytest.mark.parametrize("declared", ["ascii", "utf-16", "no-such-codec", "base64", "rot13", "undefined"])
def test_a_wrong_declaration_does_no_harm(declared: str) -> None:
    assert read(FRENCH.encode("utf-8"), declared) == FRENCH
    assert read(FRENCH.encode("cp1252"), declared) == FRENCH


def test_damaged_utf8_is_still_utf8() -> None:
    content = FRENCH.encode() + b"\xff" + FRENCH.encode()[:-2]
    assert read(content).count("\ufffd") == 2


@pytest.mark.parametrize(
    "content",
    [b"hello\0world" * 20, b"\0" * 64, bytes(range(256)), b"\x01\x02\x03text", b"\x7fELF\x02\x01\x01" + b"\0" * 9],
)
def test_binary_content_has_no_encoding(content: bytes) -> None:
    assert text_encoding(content) is None


@given(content=st.binary(max_size=300), declared=st.none() | st.text(max_size=10))
def test_any_bytes_are_either_readable_or_binary(content: bytes, declared: str | None) -> None:
    codec = text_encoding(content, declared)
    assert codec is None or isinstance(content.decode(codec, "replace"), str)
