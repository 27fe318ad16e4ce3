"""RTF as tokens: control words, characters, groups."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

_TOKEN: Final = re.compile(
    rb"\\([a-zA-Z]{1,32})(-?\d{1,10})? ?|\\'([0-9a-fA-F]{2})|\\([^a-zA-Z])|([{}])|([^\\{}\r\n]+)|[\r\n]+|\\"
)

# Codecs of \fcharset values; the others, among them 0 and 1, mean the document's own.
CHARSET_CODECS: Final = {
    77: "mac_roman",
    78: "cp932",
    79: "big5",
    80: "cp949",
    83: "mac_greek",
    84: "mac_cyrillic",
    88: "mac_latin2",
    128: "cp932",
    129: "cp949",
    130: "johab",
    134: "gbk",
    136: "big5",
    161: "cp1253",
    162: "cp1254",
    163: "cp1258",
    177: "cp1255",
    178: "cp1256",
    186: "cp1257",
    204: "cp1251",
    222: "cp874",
    238: "cp1250",
    255: "cp850",
}
CHARACTERS: Final = {
    "tab": "\t",
    "line": "\n",
    "lbr": "\n",
    "emdash": "\u2014",
    "endash": "\u2013",
    "bullet": "\u2022",
    "lquote": "\u2018",
    "rquote": "\u2019",
    "ldblquote": "\u201c",
    "rdblquote": "\u201d",
    "emspace": " ",
    "enspace": " ",
    "qmspace": " ",
}
SYMBOLS: Final = {"~": "\u00a0", "_": "\u2011", "\t": "\t", "{": "{", "}": "}", "\\": "\\"}


@dataclass(frozen=True, slots=True)
class Token:
    """One piece of RTF; `text` is the control word or symbol, `data` the bytes of characters."""

    kind: Literal["open", "close", "word", "symbol", "bytes"]
    text: str = ""
    number: int | None = None
    data: bytes = b""


_OPEN: Final = Token("open")
_CLOSE: Final = Token("close")


def tokens(content: bytes) -> Iterator[Token]:
    """Yield the tokens; the bytes behind `\\bin` are stepped over."""
    position = 0
    while match := _TOKEN.match(content, position):
        word, number, escaped, symbol, brace, characters = match.groups()
        position = match.end()
        if characters:
            yield Token("bytes", data=characters)
        elif word:
            value = int(number) if number else None
            position += max(0, value or 0) if word == b"bin" else 0
            yield Token("word", word.decode("ascii"), value)
        elif brace:
            yield _OPEN if brace == b"{" else _CLOSE
        elif escaped:
            yield Token("bytes", data=bytes.fromhex(escaped.decode("ascii")))
        elif symbol:
            yield Token("symbol", symbol.decode("latin-1"))
