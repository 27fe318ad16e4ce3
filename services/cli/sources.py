"""Turns paths into documents to send: files as they are, JSON lines as one document each."""

import base64
import gzip
import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import quote

from pydantic import ValidationError

from contracts.codec import first_problem
from contracts.documents import MAX_DOCUMENT_ID_CHARACTERS, UpsertInput

MIB: Final = 1024 * 1024
# The gateway takes 64 MiB in one request, and base64 makes four bytes out of three.
MAX_FILE_BYTES: Final = 47 * MIB
MAX_LINE_BYTES: Final = 63 * MIB
LINE_SUFFIXES: Final = (".jsonl", ".jsonl.gz")
MAX_FILENAME_CHARACTERS: Final = 255
# What other programs put beside the documents, and nobody wrote to be read.
GENERATED_FOLDERS: Final = frozenset({"__pycache__", "node_modules"})


@dataclass(frozen=True, slots=True)
class Document:
    """A document that may be sent: its id, and its JSON encoding."""

    document_id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Broken:
    """Something that can't be sent: a file, or a line of one, and why."""

    document_id: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """What is said about all documents; `metadata` and `collection` replace a document's own.

    `id_prefix` stands in front of the ids of files, `line_id_prefix` in front of those of lines; of lines only
    `line_fields` are sent, None for all.
    """

    collection: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    id_prefix: str = ""
    as_files: bool = False
    line_id_prefix: str = ""
    line_fields: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """One file, and its name relative to the path that was given."""

    path: Path
    name: str

    def has_lines(self, options: SourceOptions) -> bool:
        """Tell whether each line of the file is a document."""
        return not options.as_files and self.name.lower().endswith(LINE_SUFFIXES)


def find_sources(paths: list[Path]) -> list[Source]:
    """Return every file under the paths in a stable order; what is hidden, generated or no file is skipped."""
    found: list[Source] = []
    for path in paths:
        found += _walk(path) if path.is_dir() else [Source(path, path.name)]
    return found


def count_documents(sources: list[Source], options: SourceOptions) -> int:
    """Return how many documents the sources hold, read or not; lines are counted without being parsed."""
    return sum(_count_lines(source.path) if source.has_lines(options) else 1 for source in sources)


def read_sources(sources: list[Source], options: SourceOptions) -> Iterator[Document | Broken]:
    """Yield every document of the sources, one at a time; what can't be sent is yielded with its reason."""
    first_with: dict[str, Path] = {}
    for source in sources:
        if source.has_lines(options):
            yield from _read_lines(source, options)
            continue
        other = first_with.setdefault(source.name, source.path)
        if other is source.path:
            yield _read_file(source, options)
        else:
            yield Broken(
                str(source.path), "duplicate_id", f"has the same id {source.name!r} as {other}; use --id-prefix"
            )


def _walk(root: Path) -> list[Source]:
    found: list[Source] = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in GENERATED_FOLDERS)
        for name in sorted(files):
            path = Path(folder, name)
            if not name.startswith(".") and path.is_file():
                found.append(Source(path, path.relative_to(root).as_posix()))
    return found


def _read_file(source: Source, options: SourceOptions) -> Document | Broken:
    # A name that is not UTF-8 can't be sent; what stands for its bytes is at least the same every time.
    name = options.id_prefix + os.fsencode(source.name).decode("utf-8", errors="replace")
    try:
        size = source.path.stat().st_size
        if size > MAX_FILE_BYTES:
            return Broken(
                name, "too_large", f"has {size / MIB:.0f} MiB; at most {MAX_FILE_BYTES // MIB} MiB can be sent"
            )
        content = source.path.read_bytes()
    except OSError as error:
        return Broken(name, "unreadable", error.strerror or str(error))
    fields = {
        "uri": f"file:{quote(name)}",
        "filename": name.rpartition("/")[2][-MAX_FILENAME_CHARACTERS:],
        "content": base64.b64encode(content).decode("ascii"),
    }
    if len(name) <= MAX_DOCUMENT_ID_CHARACTERS:
        fields["id"] = name
    return _checked(fields, name, options)


def _read_lines(source: Source, options: SourceOptions) -> Iterator[Document | Broken]:
    number = 0
    try:
        with open_plain(source.path) as stream:
            while line := stream.readline(MAX_LINE_BYTES):
                number += 1
                if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
                    _skip_line(stream)
                    message = f"has more than {MAX_LINE_BYTES // MIB} MiB, which can't be sent"
                    yield Broken(_place(source, number), "too_large", message)
                elif line.strip():
                    yield _read_line(line, _place(source, number), options)
    except (OSError, EOFError, zlib.error) as error:
        yield Broken(_place(source, number + 1), "unreadable", f"{source.path} cannot be read on: {error}")


def _read_line(line: bytes, place: str, options: SourceOptions) -> Document | Broken:
    try:
        fields = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        return Broken(place, "invalid_line", f"is not JSON: {error}")
    if not isinstance(fields, dict):
        return Broken(place, "invalid_line", "is not a JSON object")
    if "id" not in fields and "_id" in fields:
        fields["id"] = fields.pop("_id")
    if isinstance(fields.get("id"), int) and not isinstance(fields["id"], bool):
        fields["id"] = str(fields["id"])
    if isinstance(fields.get("id"), str):
        fields["id"] = options.line_id_prefix + fields["id"]
    if options.line_fields is not None:
        fields = {name: value for name, value in fields.items() if name in options.line_fields}
    return _checked(fields, place, options)


def _checked(fields: dict[str, Any], place: str, options: SourceOptions) -> Document | Broken:
    """Refuse here what the gateway would refuse together with the whole batch around it."""
    if options.collection is not None:
        fields["collection"] = options.collection
    if options.metadata:
        own = fields.get("metadata")
        fields["metadata"] = {**(own if isinstance(own, dict) else {}), **options.metadata}
    try:
        document = UpsertInput.model_validate(fields)
    except ValidationError as error:
        return Broken(place, "invalid_document", str(first_problem(error)))
    # An id of its own, also where the gateway would derive the same one: replies are told apart by it.
    document_id = document.derived_id()
    body = document.model_copy(update={"id": document_id}).model_dump_json(exclude_none=True).encode()
    return Document(document_id, body)


def open_plain(path: Path) -> BinaryIO:
    """Open a file that may be gzipped, as its name says."""
    return gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb")  # type: ignore[return-value]


def _skip_line(stream: BinaryIO) -> None:
    while (rest := stream.readline(MIB)) and not rest.endswith(b"\n"):
        continue


def _count_lines(path: Path) -> int:
    lines, last = 0, b"\n"
    try:
        with open_plain(path) as stream:
            while block := stream.read(MIB):
                lines += block.count(b"\n")
                last = block[-1:]
    except (OSError, EOFError, zlib.error):
        return lines + 1
    return lines + (last != b"\n")


def _place(source: Source, number: int) -> str:
    return f"{source.path}:{number}"
