"""Cutting a stream of bytes into the data of server-sent events.

The client of OpenAI does it too, and builds a model of each piece: for a word of an answer that took as long as all
else that the agent does with it.
"""

from collections.abc import Iterator
from typing import Final

# An event that never ends shall not fill the memory.
MAX_EVENT_BYTES: Final = 4 * 2**20


class EventTooLong(ValueError):
    """An event does not end within MAX_EVENT_BYTES."""


class EventData:
    """Takes pieces as they come; other fields than `data`, and comments, are left out."""

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the data of each event that is complete with this piece; raises EventTooLong."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            if event := self._take(line.removesuffix(b"\r")):
                yield event
        if len(self._rest) + self._size > MAX_EVENT_BYTES:
            raise EventTooLong(f"an event of more than {MAX_EVENT_BYTES} bytes")

    def _take(self, line: bytes) -> bytes:
        """Return the data of the event that a line ends, nothing before that."""
        if line:
            if line.startswith(b"data:"):
                self._lines.append(line[5:].removeprefix(b" "))
                self._size += len(line)
            return b""
        event = b"\n".join(self._lines)
        self._lines.clear()
        self._size = 0
        return event
