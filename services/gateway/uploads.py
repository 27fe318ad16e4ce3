"""Multipart uploads, spooled to disk beyond a bound of memory."""

import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import Any, BinaryIO, Final

from pydantic import Json, TypeAdapter, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from services.gateway.problems import RequestProblem, invalid_body, invalid_request
from services.gateway.schemas import MAX_DOCUMENTS, UploadForm

FILES_FIELD: Final = "files"
MAX_FIELDS: Final = 20
MAX_FIELD_BYTES: Final = 256 * 1024
UNKNOWN_MEDIA_TYPE: Final = "application/octet-stream"
# Directional marks, embeddings, overrides and isolates; spaces without width.
_UNSHOWN: Final = re.compile("[\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_JSON: Final[TypeAdapter[Any]] = TypeAdapter(Json[Any])


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """One file of an upload; `media_type` is None when the caller did not know it."""

    filename: str
    media_type: str | None
    size_bytes: int
    content: BinaryIO

    def sha256(self) -> str:
        """Return the digest of the content, read in pieces."""
        self.content.seek(0)
        digest = hashlib.sha256()
        while piece := self.content.read(1024 * 1024):
            digest.update(piece)
        self.content.seek(0)
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Upload:
    """The files of one request and the fields that hold for all of them."""

    files: Sequence[UploadedFile]
    form: UploadForm

    @property
    def size_bytes(self) -> int:
        """Return the size of all files."""
        return sum(file.size_bytes for file in self.files)


@asynccontextmanager
async def reading_upload(request: Request, *, memory_bytes: int, max_file_bytes: int) -> AsyncIterator[Upload]:
    """Read a multipart body; its files live until the block ends. Raises RequestProblem with 400, 413 or 422."""
    parser = _Parser(request, max_file_bytes)
    parser.spool_max_size = memory_bytes
    try:
        data = await parser.parse()
    except MultiPartException as error:
        raise _invalid(error.message) from None
    try:
        if not parser.ended:
            # The part that is cut off is not among the files, so without this it would be lost in silence.
            raise _invalid("it ends before its closing boundary")
        yield _upload(data)
    finally:
        parser.close()


class _Parser(MultiPartParser):
    """Starlette's parser, with a bound for each file besides the one for the request."""

    def __init__(self, request: Request, max_file_bytes: int) -> None:
        limits = {"max_files": MAX_DOCUMENTS, "max_fields": MAX_FIELDS, "max_part_size": MAX_FIELD_BYTES}
        super().__init__(request.headers, request.stream(), **limits)
        self._max_file_bytes = max_file_bytes
        self._file_bytes = 0
        self.ended = False

    def close(self) -> None:
        """Close every file, those of parts that never ended too."""
        for file in self._files_to_close_on_error:
            file.close()

    def on_end(self) -> None:
        self.ended = True
        super().on_end()

    def on_part_begin(self) -> None:
        self._file_bytes = 0
        super().on_part_begin()

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._file_bytes += end - start
        if self._file_bytes > self._max_file_bytes:
            raise RequestProblem(
                413, "too_large", f"a file is larger than the limit of {self._max_file_bytes} bytes", field=FILES_FIELD
            )
        super().on_part_data(data, start, end)


def _invalid(reason: str) -> RequestProblem:
    return RequestProblem(400, "invalid_multipart", f"the body is not a valid upload: {reason}")


def _upload(data: FormData) -> Upload:
    upload = Upload(files=_files(data), form=_form(data))
    described, files = len(upload.form.documents), len(upload.files)
    if described and described != files:
        raise invalid_request(f"describes {described} documents, but there are {files} files", field="documents")
    return upload


def _files(data: FormData) -> list[UploadedFile]:
    found = data.getlist(FILES_FIELD)
    if not found:
        raise invalid_request("an upload needs at least one file in the field `files`", field=FILES_FIELD)
    return [_file(item, f"{FILES_FIELD}.{index}") for index, item in enumerate(found)]


def _file(item: UploadFile | str, field: str) -> UploadedFile:
    name = "" if isinstance(item, str) else _name_of(item.filename or "")
    if isinstance(item, str) or not name.strip(" ."):
        raise invalid_request("must be a file with a filename", field=field)
    media_type = item.content_type if item.content_type != UNKNOWN_MEDIA_TYPE else None
    return UploadedFile(filename=name, media_type=media_type, size_bytes=item.size or 0, content=item.file)


def _name_of(path: str) -> str:
    """Return the last part of what was sent as a name, as it is shown.

    Either kind of slash may part folders in what a browser or a script sends. Marks that turn or hide what is written
    behind them, so that another name is shown, are left out.
    """
    return _UNSHOWN.sub("", PureWindowsPath(path).name)


def _form(data: FormData) -> UploadForm:
    fields: dict[str, Any] = {}
    if collection := data.get("collection"):
        fields["collection"] = collection
    if metadata := data.get("metadata"):
        fields["metadata"] = _decoded(metadata, "metadata", "object")
    if documents := data.get("documents"):
        fields["documents"] = _decoded(documents, "documents", "array")
    try:
        return UploadForm.model_validate(fields)
    except ValidationError as error:
        raise invalid_body(error) from None


def _decoded(value: UploadFile | str, field: str, kind: str) -> Any:
    try:
        return _JSON.validate_python(value)
    except ValidationError:
        raise invalid_request(f"must be a JSON {kind}", field=field) from None
