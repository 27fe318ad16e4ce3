"""Files through the gateway, on a real broker."""

import base64
import json
from collections.abc import AsyncIterator
from functools import partial

import pytest

from contracts import subjects
from tests.integration.gateway_stand import Stand, running_stand
from tests.running import eventually
from tests.servers import NatsServer

Files = list[tuple[str, tuple[str, bytes, str]]]


@pytest.fixture
async def stand(nats_broker: NatsServer) -> AsyncIterator[Stand]:
    bounds = {"gateway_max_document_bytes": 3_000_000, "gateway_upload_memory_bytes": 1_000}
    async with running_stand(nats_broker, **bounds) as running:
        yield running


def file(content: bytes = b"Water boils.", name: str = "notes.txt", media_type: str = "text/plain") -> Files:
    return [("files", (name, content, media_type))]


async def test_files_are_documents_with_the_fields_of_the_form(stand: Stand) -> None:
    form = {"collection": "c", "metadata": '{"team": "infra", "year": 2026}', "more": "ignored"}
    files = file() + file(b"%PDF-", "folder/report.pdf", "application/pdf")
    response = await stand.http.post("/v1/documents", files=files, data=form)
    assert response.status_code == 202
    receipts = response.json()["documents"]
    assert [receipt["collection"] for receipt in receipts] == ["c", "c"]
    await eventually(lambda: len(stand.persistence.messages) == 2, "both are on the queue")
    by_id = {message.id: message for message in stand.persistence.messages}
    notes, report = (by_id[receipt["id"]] for receipt in receipts)
    assert (notes.title, notes.filename, notes.media_type) == ("notes.txt", "notes.txt", "text/plain")
    assert base64.b64decode(notes.content or "") == b"Water boils."
    assert (report.filename, report.media_type) == ("report.pdf", "application/pdf")
    assert report.metadata == {"team": "infra", "year": 2026}


async def test_each_file_may_be_described_by_itself(stand: Stand) -> None:
    own = [
        {"id": "kept", "title": "Its title", "metadata": {"path": "a/b", "team": "own"}},
        {"uri": "https://example.org"},
    ]
    form = {"metadata": '{"team": "infra", "year": 2026}', "documents": json.dumps(own)}
    response = await stand.http.post("/v1/documents", files=file() + file(b"%PDF-", "report.pdf"), data=form)
    assert response.status_code == 202, response.text
    await eventually(lambda: len(stand.persistence.messages) == 2, "both are on the queue")
    by_title = {message.title: message for message in stand.persistence.messages}
    kept, report = by_title["Its title"], by_title["report.pdf"]
    assert (kept.id, kept.filename, kept.uri) == ("kept", "notes.txt", None)
    assert kept.metadata == {"team": "own", "year": 2026, "path": "a/b"}
    assert (report.id, report.metadata) == (report.derived_id(), {"team": "infra", "year": 2026})
    assert str(report.id).startswith("uri-")


async def test_the_same_file_again_is_the_same_document(stand: Stand) -> None:
    first, again = [(await stand.http.post("/v1/documents", files=file())).json()["documents"][0] for _ in range(2)]
    assert first["id"] == again["id"]
    assert first["revision"] < again["revision"]


async def test_a_large_file_travels_through_the_object_store(stand: Stand) -> None:
    content = bytes(index % 251 for index in range(2_500_000))
    response = await stand.http.post("/v1/documents", files=file(content, "big.bin", "application/octet-stream"))
    assert response.status_code == 202
    await eventually(lambda: stand.persistence.messages, "the message is on the queue")
    [message] = stand.persistence.messages
    assert (message.content, message.filename, message.media_type) == (None, "big.bin", None)
    bucket = await stand.client.jetstream().object_store(subjects.UPLOADS_BUCKET)
    assert (await bucket.get(message.object or "")).data == content


async def test_a_repeated_upload_of_a_large_file_with_a_key_is_the_same_request(stand: Stand) -> None:
    key, content = {"Idempotency-Key": "k"}, file(b"x" * 2_000_000)
    first = (await stand.http.post("/v1/documents", files=content, headers=key)).json()["documents"][0]
    await eventually(lambda: stand.persistence.keys, "the key is recorded")
    second = (await stand.http.post("/v1/documents", files=content, headers=key)).json()["documents"][0]
    assert (second["duplicate"], second["revision"]) == (True, first["revision"])
    other = await stand.http.post("/v1/documents", files=file(b"y" * 2_000_000), headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert await stand.ingested() == 1


@pytest.mark.parametrize(
    ("files", "form", "status", "field"),
    [
        ([("other", ("a.txt", b"x", "text/plain"))], {}, 422, "files"),
        ([("files", ("", b"x", "text/plain"))], {}, 422, "files.0"),
        (file(name="n" * 256), {}, 422, "files.0.filename"),
        (file(media_type="plain"), {}, 422, "files.0.media_type"),
        (file(), {"collection": "a b"}, 422, "collection"),
        (file(), {"metadata": "{"}, 422, "metadata"),
        (file(), {"metadata": "[1]"}, 422, "metadata"),
        (file(), {"metadata": '{"year": {"a": 1}}'}, 422, "metadata.year"),
        (file(b"x" * 3_000_001), {}, 413, "files"),
        (file(), {"documents": "["}, 422, "documents"),
        (file(), {"documents": "{}"}, 422, "documents"),
        (file(), {"documents": "[{}, {}]"}, 422, "documents"),
        (file(), {"documents": '[{"id": ""}]'}, 422, "documents.0.id"),
        (file(), {"documents": json.dumps([{"title": "x" * 1_025}])}, 422, "documents.0.title"),
        (file() * 2, {"documents": '[{}, {"metadata": {"a": {}}}]'}, 422, "documents.1.metadata.a"),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_a_wrong_upload_is_refused_by_its_field(
    stand: Stand, files: Files, form: dict[str, str], status: int, field: str
) -> None:
    response = await stand.http.post("/v1/documents", files=files, data=form)
    assert (response.status_code, response.json()["field"]) == (status, field)
    assert await stand.ingested() == 0


async def test_more_than_a_hundred_files_are_refused(stand: Stand) -> None:
    response = await stand.http.post("/v1/documents", files=file() * 101)
    assert (response.status_code, response.json()["code"]) == (400, "invalid_multipart")


PART = b'--x\r\nContent-Disposition: form-data; name="files"; filename="%s"\r\n\r\nWater boils.'


@pytest.mark.parametrize(
    "body",
    [b"", b"nonsense", b"--x\r\nnonsense", PART % b"a", PART % b"a" + b"\r\n" + PART % b"b", b"--x--\r\n"],
    ids=["empty", "no upload", "half a part", "a part that is cut off", "a second part that is cut off", "no part"],
)
async def test_a_broken_upload_is_refused_and_nothing_of_it_is_published(stand: Stand, body: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    response = await stand.http.post("/v1/documents", content=body, headers=headers)
    assert (response.status_code, response.json()["code"]) in [(400, "invalid_multipart"), (422, "invalid_request")]
    assert await stand.ingested() == 0


# As they may stand in a request; what becomes of each: the name that is shown, or the status of the refusal.
NAMES: list[tuple[bytes, str | int]] = [
    (b"../../planted.txt", "planted.txt"),
    (rb"..\..\planted.txt", "planted.txt"),
    (b"/etc/cron.d/planted", "planted"),
    (rb"C:\Windows\planted.txt", "planted.txt"),
    (rb"\\server\share\planted.txt", "planted.txt"),
    (b"~root/planted.txt", "planted.txt"),
    (b"planted.txt/", "planted.txt"),
    (b"%2e%2e%2fplanted.txt", "%2e%2e%2fplanted.txt"),
    (b"CON", "CON"),
    (b"NUL.txt", "NUL.txt"),
    (b"COM1:planted.txt", "COM1:planted.txt"),
    (b"<img src=x onerror=alert(1)>.txt", "<img src=x onerror=alert(1)>.txt"),
    ("файл 文件.txt".encode(), "файл 文件.txt"),
    ("\u202etxt.exe".encode(), "txt.exe"),
    ("\u2066a\u2069\u200b.txt".encode(), "a.txt"),
    (b"\xff\xfe.txt", "ÿþ.txt"),
    (b"n" * 255, "n" * 255),
    (b"", 422),
    (b" ", 422),
    (b".", 422),
    (b"..", 422),
    (b"../..", 422),
    (b"/", 422),
    (b"C:", 422),
    ("\u202e".encode(), 422),
    (b"planted\x00.txt", 422),
    (b"planted\x1b[2J.txt", 422),
    (b"n" * 256, 422),
    (b"n" * 5_000, 400),
    (b"planted\r\n.txt", 400),
]


def another(stand: Stand, before: int) -> bool:
    return len(stand.persistence.messages) > before


async def test_a_file_s_name_is_shown_as_a_name_and_is_never_a_path(stand: Stand) -> None:
    """INVARIANT: whatever a file is called, it is a title without folders, or refused with a reason."""
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    for name, expected in NAMES:
        before = len(stand.persistence.messages)
        body = PART.replace(b"%s", name) + b"\r\n--x--\r\n"
        response = await stand.http.post("/v1/documents", content=body, headers=headers)
        if isinstance(expected, int):
            assert response.status_code == expected, (name, response.text)
            assert response.json()["detail"], name
            assert response.json().get("field", "").startswith("files.0") == (expected == 422), (name, response.text)
            continue
        assert response.status_code == 202, (name, response.text)
        await eventually(partial(another, stand, before), f"{name!r} is on the queue")
        message = stand.persistence.messages[-1]
        assert (message.title, message.filename) == (expected, expected), name
