"""Finding citation markers in a text that arrives in pieces.

A marker is `[2]`, `[2, 5]` or `[passage 2]`. Pieces end anywhere, so what may still become a marker is held back, with
the space in front of it: a marker that means nothing is taken out without a trace.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_MARKER: Final = re.compile(r"\s*\[(?:passages?\s+)?(\d{1,4}(?:\s*[,;]\s*\d{1,4})*)\]", re.IGNORECASE)
_MAX_MARKER_CHARACTERS: Final = 40
_PERHAPS: Final = re.compile(r"\s*\[[a-z\d\s,;]{0,39}$|\s+$", re.IGNORECASE)
_NUMBER: Final = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Marker:
    """A marker with the passage numbers that the model wrote, and the space in front of it."""

    numbers: tuple[int, ...]
    space: str


class MarkerReader:
    """Splits a text into plain pieces and markers."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> Iterator[str | Marker]:
        """Yield what is certain once a piece has come."""
        text = self._held + piece
        place = 0
        for match in _MARKER.finditer(text):
            if match.start() > place:
                yield text[place : match.start()]
            yield _marker(match)
            place = match.end()
        rest = text[place:]
        held = _PERHAPS.search(rest)
        keep = held.start() if held and len(held.group().strip()) < _MAX_MARKER_CHARACTERS else len(rest)
        self._held = rest[keep:]
        if rest[:keep]:
            yield rest[:keep]

    def end(self) -> str:
        """Return what was held back, once nothing more comes."""
        held, self._held = self._held, ""
        return held.rstrip()


def _marker(match: re.Match[str]) -> Marker:
    space = match.group()[: len(match.group()) - len(match.group().lstrip())]
    return Marker(tuple(int(number) for number in _NUMBER.findall(match.group(1))), space)
