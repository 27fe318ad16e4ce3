"""Bounds on what reaches a server before any request exists: the size of its head, and the time it takes to come.

The server's parser has neither: a head that never ends would fill the memory, a connection that says nothing would be
held for ever.
"""

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# How long the rest of what was refused is read, so that the answer arrives: a connection that closes on unread bytes is
# reset, answer and all.
LINGER_SECONDS: Final = 2.0
_REFUSAL: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%b"
)


class BoundedProtocol(HttpToolsProtocol):
    """Answers 431 to a head over `max_head_bytes`, and closes a connection whose head takes over `head_seconds`.

    The same bound holds for what follows a body, and for whatever else is neither head nor body. Use a subclass that
    `bounded_protocol` makes.
    """

    max_head_bytes: int
    head_seconds: float

    _fields_bytes = 0
    _unfinished_bytes = 0
    _in_head = True
    _moved = False
    _refused = False
    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came; what brings neither the end of a head nor a piece of a body is counted."""
        if self._refused:
            return
        if self._in_head and self._patience is None:
            self._wait_for_head()
        self._moved = False
        super().data_received(data)
        self._unfinished_bytes = 0 if self._moved else self._unfinished_bytes + len(data)
        if self._unfinished_bytes > self.max_head_bytes:
            self._refuse()

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._fields_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of the head, or one behind the body."""
        self._fields_bytes += len(name) + len(value)
        if not self._refused and self._fields_bytes <= self.max_head_bytes:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """End a head; one that came at once may still be too large."""
        self._in_head, self._moved = False, True
        self._stop_waiting()
        if self._fields_bytes + len(self.url) > self.max_head_bytes:
            self._refuse()
        elif not self._refused:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body, unless its request was refused."""
        self._moved = True
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Expect the next head, which has not begun yet."""
        self._in_head = self._moved = True
        if not self._refused:
            super().on_message_complete()

    def _refuse(self) -> None:
        if self._refused:
            return
        self._refused = True
        reason = b"the head of the request is larger than the limit of %d bytes" % self.max_head_bytes
        self.transport.write(_REFUSAL % (len(reason), reason))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._stop_waiting()
        self._patience = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _wait_for_head(self) -> None:
        self._patience = self.loop.call_later(self.head_seconds, self._give_up)

    def _give_up(self) -> None:
        # Stray bytes behind a request must not end the answer that is still on its way.
        if self.cycle is not None and not self.cycle.response_complete:
            self._wait_for_head()
        else:
            self.transport.close()

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


def bounded_protocol(*, max_head_bytes: int, head_seconds: float) -> type[BoundedProtocol]:
    """Return the protocol with its bounds, as uvicorn's `http`."""
    return type("BoundedHttp", (BoundedProtocol,), {"max_head_bytes": max_head_bytes, "head_seconds": head_seconds})
