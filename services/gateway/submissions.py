"""From a caller's document to the message on the queue, with a large payload put aside for the object store."""

import base64
import hashlib
import io
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from pydantic import ValidationError
from pydantic_core import to_json

from contracts.documents import DocumentInput
from services.gateway.problems import RequestProblem, invalid_request
from services.gateway.schemas import Document, FileDescription
from services.gateway.uploads import FILES_FIELD, Upload, UploadedFile

TEXT_MEDIA_TYPE: Final = "text/plain; charset=utf-8"
# What is wrong with these is wrong with the file, whatever the form says.
_OF_FILE: Final = frozenset({"filename", "media_type"})

NameObject = Callable[[int, str], str]


@dataclass(frozen=True, slots=True)
class Submission:
    """A message as it will be published; `blob` is stored under the name `object` first, when it has one.

    `size_bytes` is the size of the content, 0 where it is still to be fetched.
    """

    document_id: str
    collection: str
    payload: bytes
    size_bytes: int
    object: str | None = None
    blob: BinaryIO | None = None

    @property
    def digest(self) -> str:
        """Return the sha256 of the exact bytes that are published."""
        return hashlib.sha256(self.payload).hexdigest()


def random_object(_index: int, _digest: str) -> str:
    """Name an object so that nothing else has the name."""
    return uuid.uuid4().hex


@dataclass(frozen=True, slots=True)
class Submissions:
    """Makes submissions; `max_payload_bytes` is what one message may hold, `max_document_bytes` what a caller may send.

    `name_object(index, sha256 of the content)` names the object of a large payload.
    """

    max_payload_bytes: int
    max_document_bytes: int
    name_object: NameObject = random_object

    def of_documents(self, documents: Sequence[Document]) -> list[Submission]:
        """Return the submissions of a JSON request; RequestProblem 413 names a document that is too large."""
        return [self._of_document(index, document) for index, document in enumerate(documents)]

    def of_upload(self, upload: Upload) -> list[Submission]:
        """Return the submissions of an upload; RequestProblem 422 names a file whose name or type is not usable."""
        return [self._of_file(index, file, upload) for index, file in enumerate(upload.files)]

    def _of_document(self, index: int, document: Document) -> Submission:
        fields = _fields(document, document.derived_id())
        content = document.text or document.content or ""
        if len(content) <= self.max_payload_bytes and len(payload := _payload(fields)) <= self.max_payload_bytes:
            return _submission(fields, payload, document.inline_bytes or 0)
        data = base64.b64decode(content) if document.text is None else document.text.encode()
        if len(data) > self.max_document_bytes:
            raise _too_large(index, len(data), self.max_document_bytes)
        if document.text is not None:
            fields["media_type"] = document.media_type or TEXT_MEDIA_TYPE
        return self._with_object(index, fields, io.BytesIO(data), len(data), hashlib.sha256(data).hexdigest())

    def _of_file(self, index: int, file: UploadedFile, upload: Upload) -> Submission:
        digest = file.sha256()
        described = _described(index, file, upload)
        known = described.id or (described.derived_id() if described.uri else f"sha-{digest[:32]}")
        fields = _fields(described, known)
        if base64_length(file.size_bytes) <= self.max_payload_bytes:
            payload = _payload({**fields, "content": base64.b64encode(file.content.read()).decode()})
            if len(payload) <= self.max_payload_bytes:
                return _submission(fields, payload, file.size_bytes)
            file.content.seek(0)
        return self._with_object(index, fields, file.content, file.size_bytes, digest)

    def _with_object(
        self, index: int, fields: dict[str, Any], blob: BinaryIO, size_bytes: int, digest: str
    ) -> Submission:
        name = self.name_object(index, digest)
        payload = _payload({**fields, "text": None, "content": None, "object": name})
        return _submission(fields, payload, size_bytes, name, blob)


def _fields(document: DocumentInput, document_id: str) -> dict[str, Any]:
    """Return the fields of an IngestMessage, in its order."""
    return {**vars(document), "id": document_id, "op": "upsert"}


def _payload(fields: Mapping[str, Any]) -> bytes:
    """Return what encoding an IngestMessage with these fields returns; to make one takes ten times as long.

    A key that is sent again is compared by these bytes, so an upgrade must not change them.
    """
    return to_json({name: value for name, value in fields.items() if value is not None})


def _submission(
    fields: Mapping[str, Any], payload: bytes, size_bytes: int, name: str | None = None, blob: BinaryIO | None = None
) -> Submission:
    return Submission(fields["id"], fields["collection"], payload, size_bytes, name, blob)


def base64_length(size_bytes: int) -> int:
    """Return how long so many bytes become in base64."""
    return 4 * ((size_bytes + 2) // 3)


def _described(index: int, file: UploadedFile, upload: Upload) -> DocumentInput:
    form = upload.form
    own = form.documents[index] if form.documents else FileDescription()
    fields = {"filename": file.filename, "media_type": file.media_type, "id": own.id, "uri": own.uri}
    fields["title"] = file.filename if own.title is None else own.title
    metadata = {**form.metadata, **own.metadata}
    try:
        return DocumentInput.model_validate({**fields, "collection": form.collection, "metadata": metadata})
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        place = FILES_FIELD if (name := problem["loc"][0]) in _OF_FILE else "documents"
        raise invalid_request(problem["msg"], field=f"{place}.{index}.{name}") from None


def _too_large(index: int, size: int, limit: int) -> RequestProblem:
    return RequestProblem(
        413, "too_large", f"the document has {size} bytes; the limit is {limit}", field=f"documents.{index}"
    )
