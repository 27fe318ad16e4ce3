"""Which codec reads these bytes, if they are text at all."""

import codecs
import re
from typing import Final
from unicodedata import category

from chardetng_py.detector import EncodingDetector

_BYTE_ORDER_MARKS: Final = (
    # UTF-32 first: its little-endian mark begins with the one of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROLS: Final = bytes(set(range(0x20)) - set(b"\b\t\n\v\f\r\x1b")) + b"\x7f"
_MAX_CONTROL_SHARE: Final = 0.01
_DECLARED: Final = re.compile(rb"(?:charset|encoding)\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]{2,40})", re.ASCII | re.IGNORECASE)
_DECLARATION_BYTES: Final = 2048
_ISO_2022_JP: Final = re.compile(rb"\x1b\$[@B]")
_NOT_ASCII: Final = re.compile(rb"[\x80-\xff]")
_STRANGE: Final = frozenset({"Cc", "Cn", "Co", "Cs"})
_SAMPLE_BYTES: Final = 16_384
# No multi-byte codec has these as a second byte, so a sample may end behind one.
_SAFE_ENDS: Final = (b"\n", b"\r", b" ", b",", b".")
# What WHATWG calls by one name is the larger set that everybody writes in fact.
_CODECS: Final = {
    "EUC-KR": "cp949",
    "GBK": "gb18030",
    "ISO-8859-8-I": "iso8859_8",
    "Shift_JIS": "cp932",
    "windows-874": "cp874",
}


def text_encoding(content: bytes, declared: str | None = None) -> str | None:
    """Return the name of the codec that reads `content`, or None when it is not text.

    What the bytes prove comes first (byte order mark, NUL pattern of UTF-16 and UTF-32, valid UTF-8), then what the
    sender or the document declares, then a guess by the frequency of letters, then Windows-1252.
    """
    for mark, codec in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return codec
    if b"\0" in content:
        return _wide_encoding(content)
    if len(content) - len(content.translate(None, _CONTROLS)) > len(content) * _MAX_CONTROL_SHARE:
        return None
    if _ISO_2022_JP.search(content) and content.isascii():
        return "iso2022_jp"
    if _mostly_utf8(content):
        return "utf-8"
    return _declared_encoding(content, declared) or _guess(content)


def usable_codec(name: str) -> str | None:
    """Return the name of the text codec that is known under `name`."""
    try:
        return codecs.lookup(name).name if "a".encode(name) else None
    except (LookupError, ValueError):
        return None


def _wide_encoding(content: bytes) -> str | None:
    """Tell UTF-16 and UTF-32 without a mark by what decodes to writing; other content with NUL is not text."""
    sample = content[: min(_SAMPLE_BYTES, len(content) // 4 * 4 or len(content))]
    # Spaces, line ends and all other ASCII put their NUL behind them in little-endian text, before them in big.
    before, behind = sample[0::2].count(0), sample[1::2].count(0)
    # Not all stand on one side: U+4E00 is a letter of every Chinese text.
    one_sided = 2 * min(before, behind) <= max(before, behind)
    wide = ("utf-16-le" if behind > before else "utf-16-be",) if one_sided else ()
    candidates = ("utf-32-le", "utf-32-be", *wide)
    return next((codec for codec in candidates if _plausible(sample.decode(codec, "replace"))), None)


def _plausible(text: str) -> bool:
    """Tell writing from bytes that merely decode: it has no NUL and hardly any unassigned or control characters."""
    strange = sum(category(character) in _STRANGE and character not in "\t\n\r\f" for character in text)
    return "\0" not in text and strange + text.count("\ufffd") <= len(text) * _MAX_CONTROL_SHARE


def _mostly_utf8(content: bytes) -> bool:
    """Accept UTF-8 with some damage: as a whole in another codec, all its other letters would turn to rubbish."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("utf-8", "replace")
        damaged = text.count("\ufffd")
        good = sum(not character.isascii() for character in text) - damaged
        return good > 2 * damaged
    return True


def _declared_encoding(content: bytes, declared: str | None) -> str | None:
    inside = _DECLARED.search(content[:_DECLARATION_BYTES])
    names = (declared, inside.group(1).decode("ascii") if inside else None)
    return next((codec for name in names if name and (codec := _fitting(name, content))), None)


def _fitting(name: str, content: bytes) -> str | None:
    try:
        codec = codecs.lookup(name)
        # WHATWG: pages that declare Latin-1 are Windows-1252, which differs only where Latin-1 has no letters.
        chosen = "cp1252" if codec.name == "iso8859-1" else codec.name
        # Bytes that are not valid UTF-8 and have no NUL are none of Unicode's encodings, whatever is declared.
        return chosen if not chosen.startswith("utf") and content.decode(chosen) else None
    except (LookupError, ValueError):
        return None


def _guess(content: bytes) -> str:
    detector = EncodingDetector()
    detector.feed(_telling_sample(content), last=True)
    name = detector.guess(tld=None, allow_utf8=False)
    return usable_codec(_CODECS.get(name, name)) or "cp1252"


def _telling_sample(content: bytes) -> bytes:
    """Cut a sample that starts on the line of the first letter beyond ASCII and splits no multi-byte character."""
    first = _NOT_ASCII.search(content)
    start = content.rfind(b"\n", 0, first.start()) + 1 if first else 0
    sample = content[start : start + _SAMPLE_BYTES]
    ends = [sample.rfind(end) for end in _SAFE_ENDS]
    return sample[: max(ends) + 1] if len(sample) == _SAMPLE_BYTES and max(ends) > 0 else sample
