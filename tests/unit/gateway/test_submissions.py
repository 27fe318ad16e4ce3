import base64
import hashlib
import io
from contextlib import nullcontext
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from contracts.codec import encode
from contracts.documents import IngestMessage
from services.gateway.idempotency import IdempotencyKey
from services.gateway.problems import RequestProblem
from services.gateway.schemas import Document, DocumentsBody, UploadForm
from services.gateway.submissions import Submission, Submissions, base64_length
from services.gateway.uploads import Upload, UploadedFile

LIMIT = 4_000
SMALL = Submissions(max_payload_bytes=LIMIT, max_document_bytes=100_000)


def of_document(fields: dict[str, Any], submissions: Submissions = SMALL) -> Submission:
    return submissions.of_documents([Document.model_validate(fields)])[0]


def of_file(content: bytes, filename: str = "a.txt", media_type: str | None = None, **form: object) -> Submission:
    file = UploadedFile(filename, media_type, len(content), io.BytesIO(content))
    return SMALL.of_upload(Upload([file], UploadForm.model_validate(form)))[0]


def published(submission: Submission) -> IngestMessage:
    return IngestMessage.model_validate_json(submission.payload)


def test_a_small_document_travels_in_its_message() -> None:
    message = published(
        of_document({"id": "a", "text": "hello", "title": "T", "metadata": {"year": 2026}, "collection": "c"})
    )
    assert (message.op, message.id, message.text, message.title) == ("upsert", "a", "hello", "T")
    assert (message.metadata, message.collection, message.object) == ({"year": 2026}, "c", None)


@pytest.mark.parametrize(
    "fields",
    [
        {"text": "hello"},
        {"id": "ü/1", "collection": "c", "title": 'T \u2028 "', "uri": "https://example.org/ä", "text": "a\n\t\x00b"},
        {"content": "aGVsbG8=", "filename": "a.txt", "media_type": "text/plain"},
        {
            "text": "x",
            "metadata": {"s": "ä", "i": 2**63 - 1, "f": 1e22, "g": 0.1, "b": True, "l": ["a", "ß"], "z": -0.0},
        },
        {"text": "x" * LIMIT, "metadata": {"year": 2026}},
    ],
)
def test_the_bytes_are_those_of_the_message(fields: dict[str, Any]) -> None:
    """A key that is sent again, also to the next release, is compared by them."""
    submission = of_document(fields)
    assert submission.payload == encode(published(submission))


def test_a_document_without_an_id_gets_the_one_that_every_producer_would_derive() -> None:
    document = Document(text="hello", uri="https://example.org/x")
    assert SMALL.of_documents([document])[0].document_id == document.derived_id()


@pytest.mark.parametrize(
    ("fields", "content", "media_type"),
    [
        ({"text": "ä" * LIMIT}, ("ä" * LIMIT).encode(), "text/plain; charset=utf-8"),
        ({"text": "x" * LIMIT, "media_type": "text/markdown"}, b"x" * LIMIT, "text/markdown"),
        (
            {"content": base64.b64encode(b"%PDF" * LIMIT).decode(), "media_type": "application/pdf"},
            b"%PDF" * LIMIT,
            "application/pdf",
        ),
    ],
)
def test_a_large_document_is_put_aside_and_named_in_its_message(
    fields: dict[str, str], content: bytes, media_type: str
) -> None:
    submission = of_document({"id": "a", **fields})
    message = published(submission)
    assert submission.blob is not None
    assert submission.blob.read() == content
    assert (message.text, message.content, message.media_type) == (None, None, media_type)
    assert message.object
    assert len(submission.payload) < LIMIT


def test_what_grows_over_the_limit_only_when_encoded_is_put_aside_too() -> None:
    assert of_document({"text": '"' * (LIMIT - 200)}).blob is not None


def test_a_document_over_the_bound_is_refused_by_its_place() -> None:
    with pytest.raises(RequestProblem) as caught:
        SMALL.of_documents([Document(text="x"), Document(text="x" * 100_001)])
    assert (caught.value.status, caught.value.field) == (413, "documents.1")


def test_a_file_is_known_by_its_content_and_titled_by_its_name() -> None:
    message = published(of_file(b"hello", "notes.txt", "text/plain", collection="c", metadata={"a": 1}))
    assert message.id == "sha-" + hashlib.sha256(b"hello").hexdigest()[:32]
    assert (message.title, message.filename, message.media_type) == ("notes.txt", "notes.txt", "text/plain")
    assert (base64.b64decode(message.content or ""), message.collection) == (b"hello", "c")
    assert message.metadata == {"a": 1}


@pytest.mark.parametrize("size", [1, 2, 3, 2_700, 2_990, 3_000, 3_001, 50_000])
def test_a_file_of_any_size_arrives_whole(size: int) -> None:
    content = bytes(index % 251 for index in range(size))
    submission = of_file(content)
    message = published(submission)
    arrived = submission.blob.read() if submission.blob else base64.b64decode(message.content or "")
    assert arrived == content
    assert len(submission.payload) <= LIMIT


@pytest.mark.parametrize("name", ["n" * 256, "a\nb.txt"])
def test_a_file_with_an_unusable_name_is_refused(name: str) -> None:
    with pytest.raises(RequestProblem) as caught:
        of_file(b"x", name)
    assert caught.value.field is not None
    assert caught.value.field.startswith("files.0.")


def test_the_same_large_request_under_the_same_key_is_the_same_message() -> None:
    key = IdempotencyKey("default", "k")
    keyed = Submissions(max_payload_bytes=LIMIT, max_document_bytes=100_000, name_object=key.object_name)
    first, again = (of_document({"id": "a", "text": "x" * LIMIT}, keyed) for _ in range(2))
    other = of_document({"id": "a", "text": "y" * LIMIT}, keyed)
    assert first.digest == again.digest
    assert first.digest != other.digest


def test_two_large_documents_never_share_an_object() -> None:
    names = {published(of_document({"text": "x" * LIMIT})).object for _ in range(2)}
    assert len(names) == 2


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 1000])
def test_the_length_in_base64_is_computed_right(size: int) -> None:
    assert base64_length(size) == len(base64.b64encode(b"x" * size))


def test_the_digest_is_of_the_exact_bytes() -> None:
    submission = of_document({"id": "a", "text": "hello"})
    assert submission.digest == hashlib.sha256(submission.payload).hexdigest()
    assert orjson.loads(submission.payload)["text"] == "hello"


@pytest.mark.parametrize(("documents", "taken"), [(1, True), (100, True), (101, False), (0, False)])
def test_a_request_brings_a_hundred_documents_and_no_more(documents: int, taken: bool) -> None:
    body = {"documents": [{"text": "hello"}] * documents}
    with nullcontext() if taken else pytest.raises(ValidationError, match=r"at (most 100|least 1) item"):
        assert len(DocumentsBody.model_validate(body).documents) == documents
