"""JSON as a stream: no tree, no recursion, and numbers stay as they are written.

Several documents may follow one another (JSONL). `NaN`, `Infinity` and stray commas are taken as they come; where it is
no JSON at all, the stream ends with `broken`.
"""

import re
from collections.abc import Iterator
from json import JSONDecodeError, JSONDecoder
from typing import Final, Literal, NamedTuple

# JSON has no limit, but every value costs as much as it stands deep.
MAX_DEPTH: Final = 200
_TOKEN: Final = re.compile(
    r"[\s,]*(?:([{\[])|([}\]])|(\")|(true|false|null|NaN|-?Infinity|-?\d[\d.eE+-]*)(?=[\s,\]}]|$))"
)
_COLON: Final = re.compile(r"\s*:")
_STRINGS: Final = JSONDecoder(strict=False)

Kind = Literal["object", "array", "end", "key", "text", "literal", "broken"]


class JsonEvent(NamedTuple):
    """A key, a value or the border of an object or array; `broken` holds where."""

    kind: Kind
    text: str = ""


_BORDERS: Final = {
    "{": JsonEvent("object"),
    "[": JsonEvent("array"),
    "}": JsonEvent("end"),
    "]": JsonEvent("end"),
}


def events(text: str) -> Iterator[JsonEvent]:
    """Yield what stands in the JSON, in order; an event `end` closes each `object` and `array`."""
    position = depth = 0
    while match := _TOKEN.match(text, position):
        opening, closing, quote, literal = match.groups()
        if depth + bool(opening) > MAX_DEPTH or (closing and not depth):
            break
        depth += bool(opening) - bool(closing)
        if quote:
            event, end = _string(text, match.start(3))
        else:
            end = match.end()
            event = JsonEvent("literal", literal) if literal else _BORDERS[opening or closing]
        if event is None:
            break
        yield event
        position = end
    if text[position:].strip(", \t\n"):
        yield JsonEvent("broken", str(position))


def _string(text: str, start: int) -> tuple[JsonEvent | None, int]:
    try:
        value, end = _STRINGS.raw_decode(text, start)
    except JSONDecodeError:
        return None, start
    colon = _COLON.match(text, end)
    return JsonEvent("key" if colon else "text", value), colon.end() if colon else end
