"""Zip containers (Office Open XML, OpenDocument, EPUB), read in memory: no name in one ever becomes a path.

What a member says of its size is checked before anything is inflated, and no more than that is ever inflated.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from io import BytesIO
from typing import IO, Final
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo
from zlib import error as ZlibError

from services.parser.errors import ExtractionError

_MEBIBYTE: Final = 1 << 20
# XML is read at 4 to 15 MB per second: more would end at the processor limit.
MAX_STREAMED_BYTES: Final = 256 * _MEBIBYTE
# A parsed tree takes up to ten times the room of its XML, and a job has 1 GiB.
MAX_WHOLE_BYTES: Final = 32 * _MEBIBYTE
# What all members that are read unpack to together; a deck of 1,000 slides has about 50 MiB.
MAX_TOTAL_BYTES: Final = 512 * _MEBIBYTE
# Honest spreadsheets and logs shrink up to 100:1. Small parts may be anything, an empty one is all repetition.
MAX_RATIO: Final = 250
RATIO_MATTERS_BYTES: Final = 16 * _MEBIBYTE
# A deck of 1,000 slides has 6,000 members.
MAX_MEMBERS: Final = 65_535
# No office format uses other methods, and `zipfile` inflates those without a bound.
_METHODS: Final = (ZIP_STORED, ZIP_DEFLATED)
_PIECE_BYTES: Final = 64 << 10
_DAMAGED: Final = (BadZipFile, ZlibError, EOFError, NotImplementedError, OSError, ValueError)


class MemberStream:
    """The bytes of a member; they end where it is damaged."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, never all at once: `zipfile` would inflate beyond the size that was checked."""
        try:
            return self._file.read(_PIECE_BYTES if size < 0 else min(size, _PIECE_BYTES))
        except _DAMAGED:
            return b""


class Archive:
    """The members of a zip file by name: `/` between folders, none at the start, upper and lower case alike.

    Raises ExtractionError: `corrupt` when it is no zip file, `too_large` when it has too many members or one that is
    read is too large, `encrypted` when one that is read is under a password.
    """

    def __init__(self, content: bytes) -> None:
        try:
            self._zip = ZipFile(BytesIO(content))
        except _DAMAGED as error:
            raise ExtractionError(
                "corrupt", f"The file is damaged: its zip container does not open ({error})."
            ) from error
        members = self._zip.infolist()
        if len(members) > MAX_MEMBERS:
            raise ExtractionError("too_large", f"The file has {len(members)} members, at most {MAX_MEMBERS} are read.")
        self._members = {_key(member.filename): member for member in members}
        self._bytes_left = MAX_TOTAL_BYTES

    @property
    def names(self) -> list[str]:
        """The names of all members, as written, in the order of the directory."""
        return [member.filename for member in self._members.values()]

    def __contains__(self, name: str) -> bool:
        return _key(name) in self._members

    def read(self, name: str) -> bytes | None:
        """Return a member as far as it is undamaged; None when it is missing or nothing of it is left."""
        if name not in self:
            return None
        with self.open(name, MAX_WHOLE_BYTES) as stream:
            return b"".join(iter(lambda: stream.read(_PIECE_BYTES), b"")) or None

    @contextmanager
    def open(self, name: str, max_bytes: int = MAX_STREAMED_BYTES) -> Iterator[MemberStream]:
        """Open a member to be read in pieces; it ends where it is damaged, and a missing one is empty."""
        member = self._members.get(_key(name))
        if member is None:
            yield MemberStream(BytesIO())
            return
        self._admit(member, max_bytes)
        # A wrong checksum would cost the last piece of a member that is otherwise readable.
        unchecked = copy(member)
        del unchecked.CRC
        try:
            file: IO[bytes] = self._zip.open(unchecked)
        except _DAMAGED:
            file = BytesIO()
        with file:
            yield MemberStream(file)

    def admit_all(self) -> None:
        """Check the sizes of all members, for a library that then unpacks them by itself."""
        for member in self._members.values():
            self._admit(member, MAX_STREAMED_BYTES)

    def _admit(self, member: ZipInfo, max_bytes: int) -> None:
        name, limit = member.filename[:100], min(max_bytes, self._bytes_left)
        if member.flag_bits & 1:
            raise ExtractionError("encrypted", f"{name!r} in the file is protected by a password. Remove the password.")
        if member.compress_type not in _METHODS:
            raise ExtractionError("corrupt", f"{name!r} in the file is compressed in a way no office format uses.")
        if member.file_size > limit:
            unpacked, most = member.file_size / _MEBIBYTE, limit / _MEBIBYTE
            raise ExtractionError(
                "too_large",
                f"{name!r} in the file unpacks to {unpacked:.0f} MiB, at most {most:.0f} are read. Split it.",
            )
        if member.file_size > max(RATIO_MATTERS_BYTES, member.compress_size * MAX_RATIO):
            raise ExtractionError("too_large", f"{name!r} in the file unpacks to over {MAX_RATIO} times its size.")
        self._bytes_left -= member.file_size


def _key(name: str) -> str:
    return name.replace("\\", "/").lstrip("/").lower()
