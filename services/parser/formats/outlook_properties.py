"""The properties of an Outlook message: streams of an OLE2 container, named for what they hold.

Numbers from MS-OXPROPS and MS-OXMSG; `__substg1.0_PPPPTTTT` is property PPPP in type TTTT, and those of a fixed size
share a stream.
"""

import io
import struct
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

from olefile import OleFileIO, isOleFile

from services.parser.errors import ExtractionError
from services.parser.text_encoding import text_encoding, usable_codec

_UNICODE: Final = "001F"
_CODE_PAGE_TEXT: Final = "001E"
_BINARY: Final = "0102"
_TIME: Final = 0x0040
_INTEGER: Final = 0x0003
_FIXED_ENTRY: Final = struct.Struct("<HHI8s")
_DAMAGED: Final = (OSError, ValueError, IndexError, KeyError, TypeError, RecursionError, struct.error)
_WINDOWS_EPOCH: Final = datetime(1601, 1, 1, tzinfo=UTC)
_CODE_PAGES: Final = {65001: "utf-8", 20127: "ascii", 28591: "latin-1", 20866: "koi8-r", 50220: "iso2022-jp"}
_MAX_STREAMS: Final = 20_000

Path = tuple[str, ...]


class Container:
    """The streams of a message by path; damaged ones are empty."""

    def __init__(self, content: bytes) -> None:
        if not isOleFile(data=content):
            raise ExtractionError("corrupt", "The message is damaged: its container does not open.")
        try:
            self._file = OleFileIO(io.BytesIO(content))
            paths = self._file.listdir(streams=True, storages=True)
        except _DAMAGED as error:
            raise ExtractionError(
                "corrupt", f"The message is damaged: its container does not open ({error})."
            ) from error
        if len(paths) > _MAX_STREAMS:
            raise ExtractionError("too_large", f"The message has more than {_MAX_STREAMS} parts.")
        self._names = {tuple(part.upper() for part in path): path for path in paths}

    def __contains__(self, path: Path) -> bool:
        return tuple(part.upper() for part in path) in self._names

    def read(self, path: Path) -> bytes:
        """Return a stream; empty when it is missing or damaged."""
        name = self._names.get(tuple(part.upper() for part in path))
        if name is not None:
            with suppress(*_DAMAGED):
                stream: bytes = self._file.openstream(name).read()
                return stream
        return b""

    def inside(self, path: Path, prefix: str) -> Iterator[Path]:
        """Yield the storages right below `path` whose name begins so, in order."""
        depth = len(path)
        above, wanted = tuple(part.upper() for part in path), prefix.upper()
        for key in sorted(self._names):
            if len(key) == depth + 1 and key[:depth] == above and key[depth].startswith(wanted):
                yield tuple(self._names[key])


class Properties:
    """The properties of one storage: a message, a recipient, an attachment.

    `header_bytes` stand before the fixed-size properties; `codec` reads text that is not Unicode.
    """

    def __init__(self, container: Container, path: Path, header_bytes: int, codec: str | None = None) -> None:
        self._container = container
        self._path = path
        self._fixed = self._fixed_values(header_bytes)
        page = self.integer(0x3FFD) or self.integer(0x3FDE) or 0
        self.codec = codec or usable_codec(_CODE_PAGES.get(page, f"cp{page}"))

    def text(self, number: int) -> str:
        """Return a text, whichever way it is kept."""
        if wide := self._stream(number, _UNICODE):
            return wide.decode("utf-16-le", "replace").rstrip("\0")
        return self._decoded(self._stream(number, _CODE_PAGE_TEXT))

    def binary_text(self, number: int) -> str:
        """Return a text that is kept as bytes in the encoding of the mail it came from."""
        return self._decoded(self._stream(number, _BINARY)) or self.text(number)

    def binary(self, number: int) -> bytes:
        """Return bytes."""
        return self._stream(number, _BINARY)

    def integer(self, number: int) -> int | None:
        """Return a number."""
        value = self._fixed.get((number, _INTEGER))
        return int.from_bytes(value[:4], "little") if value else None

    def time(self, number: int) -> str:
        """Return a time as people write it, empty when there is none."""
        value = self._fixed.get((number, _TIME))
        try:
            moment = _WINDOWS_EPOCH + timedelta(microseconds=int.from_bytes(value, "little") // 10) if value else None
        except OverflowError:
            return ""
        return moment.strftime("%Y-%m-%d %H:%M UTC") if moment and moment != _WINDOWS_EPOCH else ""

    def _stream(self, number: int, kind: str) -> bytes:
        return self._container.read((*self._path, f"__substg1.0_{number:04X}{kind}"))

    def _decoded(self, content: bytes) -> str:
        content = content.rstrip(b"\0")
        return content.decode(text_encoding(content, self.codec) or "cp1252", "replace")

    def _fixed_values(self, header_bytes: int) -> dict[tuple[int, int], bytes]:
        content = self._container.read((*self._path, "__properties_version1.0"))[header_bytes:]
        whole = content[: len(content) // _FIXED_ENTRY.size * _FIXED_ENTRY.size]
        return {(number, kind): value for kind, number, _, value in _FIXED_ENTRY.iter_unpack(whole)}
