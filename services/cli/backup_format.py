"""What a backup file is: a tar archive, packed with gzip, whose last member proves that it is whole.

    BACKUP.json     when and by which release it was made, and what it does not hold
    data/…          folders and files of the data folder
    MANIFEST.json   size and SHA-256 of every file before it

A file without its manifest was not finished, and is never taken for a backup.
"""

import gzip
import hashlib
import io
import os
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.cli.errors import CommandError

FORMAT: Final = 1
HEADER: Final = "BACKUP.json"
MANIFEST: Final = "MANIFEST.json"
DATA: Final = "data"
# Most of what does not pack well are vectors; what packs well at all (empty pages) does so at once.
COMPRESSION_LEVEL: Final = 1
BLOCK_BYTES: Final = 1024 * 1024
# A manifest tells some 200 bytes of each file; a broker's stream of 8 GiB has a thousand files.
MAX_DESCRIPTION_BYTES: Final = 64 * 1024 * 1024
PRIVATE_FILE: Final = 0o600
PRIVATE_FOLDER: Final = 0o700


class Header(BaseModel):
    """Where a backup comes from; `made_at` is a time with its zone, `elsewhere` names stores that it does not hold."""

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    version: str = Field(pattern=r"^\d+(\.\d+)*$")
    layout: str
    made_at: str
    elsewhere: list[str]


class Entry(BaseModel):
    """A file as it was written: its size in bytes and its SHA-256 in hexadecimal digits."""

    model_config = ConfigDict(frozen=True)

    bytes: int
    sha256: str


class Manifest(BaseModel):
    """The files of a backup by their names in the archive."""

    files: dict[str, Entry] = Field(default_factory=dict)

    @property
    def data(self) -> list[Entry]:
        """Return the files of the data folder."""
        return [entry for name, entry in self.files.items() if name.startswith(f"{DATA}/")]


def described(header: Header, manifest: Manifest) -> dict[str, Any]:
    """Return what a backup is and holds, for programs."""
    return {
        **header.model_dump(exclude={"format", "layout"}),
        "files": len(manifest.data),
        "content_bytes": sum(entry.bytes for entry in manifest.data),
    }


class Writer:
    """Adds members to a backup that is being written."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self.manifest = Manifest()
        self._tar = tar

    def folder(self, name: PurePosixPath) -> None:
        """Add a folder without what is in it."""
        member = tarfile.TarInfo(f"{DATA}/{name}")
        member.type, member.mode = tarfile.DIRTYPE, PRIVATE_FOLDER
        self._tar.addfile(member)

    def file(self, name: PurePosixPath, source: Path) -> None:
        """Add a file as it is now; OSError when it cannot be read to its end."""
        with source.open("rb") as stream:
            self._add(f"{DATA}/{name}", os.fstat(stream.fileno()).st_size, stream)

    def describe(self, name: str, description: BaseModel) -> None:
        """Add the header or the manifest."""
        text = description.model_dump_json().encode()
        self._add(name, len(text), io.BytesIO(text))

    def _add(self, name: str, size: int, stream: IO[bytes]) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode = size, PRIVATE_FILE
        counted = _Counted(stream)
        self._tar.addfile(member, counted)
        self.manifest.files[name] = counted.entry()


@contextmanager
def writing(stream: IO[bytes], header: Header) -> Iterator[Writer]:
    """Write a backup onto a stream in the block; only one that ends well gets its manifest."""
    with (
        gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=COMPRESSION_LEVEL) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        writer = Writer(tar)
        writer.describe(HEADER, header)
        yield writer
        writer.describe(MANIFEST, writer.manifest.model_copy())


class _Counted:
    """A stream that is read through, and remembers what of."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self._bytes = 0

    def read(self, size: int = -1) -> bytes:
        block = self._stream.read(size)
        self._digest.update(block)
        self._bytes += len(block)
        return block

    def entry(self) -> Entry:
        return Entry(bytes=self._bytes, sha256=self._digest.hexdigest())


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder in a backup, by its name in the data folder."""

    name: PurePosixPath


@dataclass(frozen=True, slots=True)
class File:
    """A file in a backup; its blocks can be read once, before the next member is asked for."""

    name: PurePosixPath
    blocks: Iterator[bytes]


class Reader:
    """Reads a backup; whoever takes all members knows at the end that each is as it was written."""

    def __init__(self, tar: tarfile.TarFile, name: str) -> None:
        self.manifest = Manifest()
        self._tar = tar
        self._name = name
        self.header = self._header()

    def members(self) -> Iterator[Folder | File]:
        """Yield folders and files; CommandError when one is damaged, or the end is missing."""
        while (member := self._tar.next()) is not None:
            if member.name == MANIFEST:
                self._compare(self._text(member))
                return
            if member.isdir():
                yield Folder(self._inside(member))
            elif member.isfile():
                blocks = self._blocks(member)
                yield File(self._inside(member), blocks)
                # What nobody wanted has to be read for its checksum.
                for _ in blocks:
                    pass
            else:
                raise CommandError(f"{self._name} holds {member.name}, which is neither a file nor a folder")
        raise CommandError(
            f"{self._name} has no manifest: its making was broken off, or its end is damaged; take another one"
        )

    def _header(self) -> Header:
        first = self._tar.next()
        if first is None or first.name != HEADER:
            raise CommandError(f"{self._name} is no backup of this platform")
        found = Header.model_validate_json(self._text(first))
        if found.format != FORMAT:
            raise CommandError(
                f"{self._name} has format {found.format}, this release reads {FORMAT}; use release {found.version}"
            )
        return found

    def _inside(self, member: tarfile.TarInfo) -> PurePosixPath:
        path = PurePosixPath(member.name)
        if path.parts[:1] != (DATA,) or len(path.parts) < 2 or ".." in path.parts:
            raise CommandError(f"{self._name} holds {member.name!r}, which lies outside of a data folder")
        return path.relative_to(DATA)

    def _text(self, member: tarfile.TarInfo) -> bytes:
        if member.size > MAX_DESCRIPTION_BYTES:
            raise CommandError(f"{self._name} is damaged: {member.name} has {member.size} bytes")
        return b"".join(self._blocks(member))

    def _blocks(self, member: tarfile.TarInfo) -> Iterator[bytes]:
        source = self._tar.extractfile(member)
        assert source is not None
        counted = _Counted(source)
        while block := counted.read(BLOCK_BYTES):
            yield block
        self.manifest.files[member.name] = counted.entry()

    def _compare(self, text: bytes) -> None:
        told = Manifest.model_validate_json(text).files
        found = {name: entry for name, entry in self.manifest.files.items() if name != MANIFEST}
        for name in sorted(told.keys() | found.keys()):
            if told.get(name) != found.get(name):
                raise CommandError(
                    f"{self._name} is damaged: {name} is not what its manifest says; take another backup"
                )


@contextmanager
def reading(file: Path) -> Iterator[Reader]:
    """Open a backup for the block; whatever is wrong with the archive is a CommandError that names the file."""
    try:
        with gzip.open(file, "rb") as packed, tarfile.open(fileobj=packed, mode="r|") as tar:
            yield Reader(tar, str(file))
    except (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError, ValidationError) as error:
        reason = " ".join(str(error).split())
        raise CommandError(f"{file} is cut off, damaged, or no backup ({reason}); take another one") from None
