"""What ingestion messages and dead letters mean for a document."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from contracts import subjects
from contracts.chunks import ChunksEmbedded, ChunksReady, ChunkText, EmbeddedChunk
from contracts.codec import encode
from contracts.messages import Message
from services.persistence.dead_letter import document_events, read_dead_letter
from services.persistence.events import CollectionDeleted, DeleteAccepted, Failed, Refused, UpsertAccepted
from services.persistence.intake import read_message
from services.persistence.recording import idempotency_row

AT = datetime(2026, 11, 23, tzinfo=UTC)
PART: dict[str, Any] = {"tenant": "acme", "document_id": "d", "revision": 4, "collection": "c", "batch": 0}
CHUNK: dict[str, Any] = {"ordinal": 0, "chunk_id": "x", "text": "t"}


def payload(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def letter_headers(**overrides: str) -> dict[str, str]:
    return {
        "Rag-Tenant": "acme",
        "traceparent": "00-1-2-01",
        "My-Header": "kept",
        "Nats-Msg-Id": "dead:parser:INGEST:12",
        "Rag-Dead-Reason": "cannot be read",
        "Rag-Dead-Code": "corrupt",
        "Rag-Dead-Subject": "rag.v1.ingest.acme",
        "Rag-Dead-Stream": "INGEST",
        "Rag-Dead-Sequence": "12",
        "Rag-Dead-Consumer": "parser",
        "Rag-Dead-Deliveries": "3",
        "Rag-Dead-Error": "Rejected",
        **overrides,
    }


def meaning(body: bytes, **overrides: str) -> tuple[object, ...]:
    letter = read_dead_letter(1, "rag.v1.dead.parser", letter_headers(**overrides), body, AT)
    return document_events(letter, body, AT)


def test_an_upsert_is_read_with_its_description() -> None:
    body = payload(id="d", text="secret", collection="c", title="T", uri="u", metadata={"year": 2026})
    event = read_message("acme", 9, body, AT)
    assert event == UpsertAccepted(
        tenant="acme",
        document_id="d",
        revision=9,
        at=AT,
        collection="c",
        title="T",
        uri="u",
        metadata={"year": 2026},
        size_bytes=6,
    )


@pytest.mark.parametrize(
    ("fields", "said", "size_bytes"),
    [
        ({"text": "äß"}, "1", 4),
        ({"content": base64.b64encode(b"12345").decode(), "filename": "a.txt"}, "1", 5),
        ({"content": base64.b64encode(b"1234").decode(), "filename": "a.txt"}, None, 4),
        ({"object": "o"}, "123", 123),
        ({"object": "o"}, None, 0),
        ({"object": "o"}, "-5", 0),
        ({"object": "o"}, "9" * 13, 0),
        ({"uri": "https://example.org"}, None, 0),
    ],
)
def test_the_size_of_a_document_is_that_of_its_content_or_what_is_said_of_it(
    fields: dict[str, str], said: str | None, size_bytes: int
) -> None:
    event = read_message("acme", 9, payload(id="d", **fields), AT, {"Rag-Size": said} if said else {})
    assert isinstance(event, UpsertAccepted)
    assert event.size_bytes == size_bytes


def test_a_document_without_an_id_gets_the_one_that_every_service_derives() -> None:
    event = read_message("acme", 9, payload(text="hello"), AT)
    assert isinstance(event, UpsertAccepted)
    assert event.document_id.startswith("sha-")


def test_a_delete_by_uri_is_about_the_document_of_that_uri() -> None:
    published = read_message("acme", 9, payload(uri="https://x", text="t"), AT)
    deleted = read_message("acme", 10, payload(op="delete", uri="https://x"), AT)
    assert isinstance(deleted, DeleteAccepted)
    assert isinstance(published, UpsertAccepted)
    assert deleted.document_id == published.document_id


def test_a_delete_of_a_collection_is_about_no_single_document() -> None:
    body = payload(op="delete_collection", collection="c")
    assert read_message("acme", 9, body, AT) == CollectionDeleted(tenant="acme", collection="c", revision=9, at=AT)
    assert meaning(body) == ()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (payload(id="d", text="t", metadata={"a": {"b": 1}}), "metadata.a"),
        (payload(id="d", text="t", op="destroy"), "op"),
        (payload(id="d"), "exactly one of text, content, object"),
    ],
)
def test_a_broken_message_with_an_id_is_a_refused_document_whose_reason_names_the_field(
    body: bytes, field: str
) -> None:
    event = read_message("acme", 9, body, AT)
    assert isinstance(event, Refused)
    assert (event.document_id, event.code) == ("d", "invalid_message")
    assert field in event.message


@pytest.mark.parametrize(
    "body",
    [b"", b"not json", b"[" * 100_000, b'"d"', payload(text=1), payload(id=7), payload(id=""), payload(id="a\nb")],
    ids=["empty", "no JSON", "deep", "no object", "no id", "number", "empty id", "control character"],
)
def test_a_broken_message_without_a_usable_id_is_about_no_document(body: bytes) -> None:
    assert read_message("acme", 9, body, AT) is None


def test_a_broken_message_names_its_collection_only_when_that_is_valid() -> None:
    good = read_message("acme", 9, payload(id="d", collection="c"), AT)
    bad = read_message("acme", 9, payload(id="d", collection="../c"), AT)
    assert isinstance(good, Refused)
    assert isinstance(bad, Refused)
    assert (good.collection, bad.collection) == ("c", None)


def test_a_dead_letter_keeps_the_original_headers_and_its_reason_apart() -> None:
    letter = read_dead_letter(7, "rag.v1.dead.parser", letter_headers(), b"x", AT)
    assert letter.headers == {"My-Header": "kept"}
    assert (letter.sequence, letter.stream, letter.stream_sequence, letter.deliveries) == (7, "INGEST", 12, 3)
    assert (letter.consumer, letter.code, letter.reason, letter.field) == ("parser", "corrupt", "cannot be read", None)


def test_a_dead_letter_whose_headers_say_nothing_is_still_read() -> None:
    letter = read_dead_letter(7, "rag.v1.dead.parser", {"Rag-Tenant": "../x", "Rag-Dead-Sequence": "-1"}, b"x", AT)
    assert (letter.consumer, letter.tenant, letter.stream_sequence) == ("parser", "unknown", 0)
    assert document_events(letter, b"x", AT) == ()


def test_a_dead_upsert_counts_as_seen_and_failed() -> None:
    """Otherwise a message that intake itself could not record would never be visible anywhere but in DEAD."""
    accepted, failed = meaning(payload(id="d", text="t", collection="c"))
    assert isinstance(accepted, UpsertAccepted)
    assert isinstance(failed, Failed)
    assert (accepted.document_id, accepted.revision, accepted.collection) == ("d", 12, "c")
    assert (failed.revision, failed.code, failed.message) == (12, "corrupt", "cannot be read")


@pytest.mark.parametrize("body", [payload(id="d", op="delete"), payload(id="d", text=1)], ids=["delete", "broken"])
def test_a_dead_message_that_is_no_upsert_fails_its_document_with_the_reason_of_the_letter(body: bytes) -> None:
    [event] = meaning(body)
    assert isinstance(event, Refused)
    assert (event.document_id, event.revision, event.code, event.message) == ("d", 12, "corrupt", "cannot be read")


@pytest.mark.parametrize(
    ("subject", "message"),
    [
        (subjects.CHUNKS_READY, ChunksReady(**PART, chunks=[ChunkText(**CHUNK)])),
        (
            subjects.CHUNKS_EMBEDDED,
            ChunksEmbedded(**PART, model="m", dimension=1, chunks=[EmbeddedChunk(**CHUNK, vector=b"\0\0\0\0")]),
        ),
    ],
    ids=["chunks.ready", "chunks.embedded"],
)
def test_a_dead_batch_fails_its_document(subject: str, message: Message) -> None:
    [event] = meaning(encode(message), **{"Rag-Dead-Subject": subject, "Rag-Dead-Stream": "CHUNKS"})
    assert isinstance(event, Failed)
    assert (event.tenant, event.document_id, event.revision) == ("acme", "d", 4)


@pytest.mark.parametrize(
    "overrides",
    [
        {"Rag-Dead-Subject": "rag.v1.queries.ask"},
        {"Rag-Dead-Subject": "rag.v1.ingest.UPPER"},
        {"Rag-Dead-Subject": subjects.CHUNKS_READY},
        {"Rag-Dead-Sequence": "none"},
    ],
    ids=["another subject", "no tenant", "no batch", "no sequence"],
)
def test_a_letter_that_is_about_no_document_means_nothing_for_any(overrides: dict[str, str]) -> None:
    assert meaning(payload(id="d", text="t"), **overrides) == ()


@pytest.mark.parametrize("key", ["", "k" * 129, "ü", "a\tb"], ids=["none", "too long", "not ASCII", "control"])
def test_an_unusable_idempotency_key_is_not_remembered(key: str) -> None:
    event = read_message("acme", 9, payload(id="d", text="t"), AT)
    assert isinstance(event, UpsertAccepted)
    assert idempotency_row({"Rag-Idempotency": key}, b"", event) is None


def test_an_idempotency_key_is_remembered_with_the_digest_of_the_message() -> None:
    event = read_message("acme", 9, payload(id="d", text="t"), AT)
    assert isinstance(event, UpsertAccepted)
    row = idempotency_row({"Rag-Idempotency": "k" * 128}, b"", event)
    assert row is not None
    assert row["digest"] == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert (row["document_id"], row["revision"]) == ("d", 9)
