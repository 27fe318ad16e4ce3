"""Which letters may be sent again, and as what."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from contracts import subjects
from services.persistence.dead_letter import DeadLetter
from services.persistence.replay_rules import headers_of, later_write, message_id_of, outdated, refusal_of

AT = datetime(2026, 11, 1, tzinfo=UTC)
LETTER = DeadLetter(
    sequence=7,
    consumer="parser",
    stream="INGEST",
    stream_sequence=5,
    subject="rag.v1.ingest.acme",
    tenant="acme",
    reason="cannot be read",
    code="corrupt",
    field=None,
    error="Rejected",
    headers={},
    payload=b"{}",
    object_name=None,
    deliveries=1,
    traceparent=None,
    document_id="d",
    revision=5,
    created_at=AT,
)


@pytest.mark.parametrize(
    ("stream", "subject"),
    [
        ("INGEST", "rag.v1.ingest.acme"),
        ("CHUNKS", subjects.CHUNKS_READY),
        ("VECTORS", subjects.CHUNKS_EMBEDDED),
        ("FACTS", subjects.DOCUMENT_PARSED),
    ],
)
def test_what_the_pipeline_carries_may_be_sent_again(stream: str, subject: str) -> None:
    assert refusal_of(replace(LETTER, stream=stream, subject=subject)) is None


@pytest.mark.parametrize(
    ("stream", "subject"),
    [
        ("QUERIES", subjects.QUERIES_ASK),
        ("ADVISORIES", "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.INGEST.parser"),
        ("DEAD", "rag.v1.dead.parser"),
        ("INGEST", "rag.v1.ingest.other"),
        ("INGEST", subjects.CHUNKS_READY),
        ("CHUNKS", "rag.v1.ingest.other"),
        ("FACTS", "unknown"),
    ],
)
def test_what_nobody_waits_for_and_what_would_go_elsewhere_may_not(stream: str, subject: str) -> None:
    """INVARIANT: a tenant sees only its own. The subject comes out of a header and must not lead to another tenant."""
    refusal = refusal_of(replace(LETTER, stream=stream, subject=subject))
    assert refusal is not None
    assert refusal.code == "not_replayable"


@pytest.mark.parametrize("stream", ["INGEST", "CHUNKS", "VECTORS"])
def test_work_on_an_outdated_revision_is_refused(stream: str) -> None:
    letter = replace(LETTER, stream=stream)
    assert outdated(letter, 5) is None
    refusal = outdated(letter, 6)
    assert refusal is not None
    assert (refusal.code, "revision 6" in refusal.message) == ("newer_revision", True)


def test_a_fact_is_never_outdated() -> None:
    assert outdated(replace(LETTER, stream="FACTS"), 6) is None


def test_a_message_that_tells_of_no_document_is_not_sent_again() -> None:
    """INVARIANT: the later write wins. What it would overwrite nobody could tell."""
    refusal = refusal_of(replace(LETTER, document_id=None, revision=None))
    assert refusal is not None
    assert refusal.code == "not_replayable"


@pytest.mark.parametrize(
    ("payload", "is_later"),
    [
        (b'{"id": "d", "text": "t"}', True),
        (b'{"op": "delete", "id": "d"}', True),
        (b'{"id": "d", "text": 5}', True),
        (b'{"id": "e", "text": "t"}', False),
        (b"not json", False),
    ],
    ids=["an update", "a delete", "a broken update", "another document", "no document"],
)
def test_a_later_write_that_is_not_recorded_yet_counts_too(payload: bytes, is_later: bool) -> None:
    assert (later_write(LETTER, 6, "m", payload, AT) is not None) == is_later


@pytest.mark.parametrize(
    ("letter", "is_later"),
    [
        (b'{"id": "d", "text": "t"}', True),
        (b'{"id": "d", "text": "t", "collection": "other"}', False),
        (b"{}", True),
    ],
    ids=["its own", "another one", "nobody knows"],
)
def test_a_delete_of_its_collection_is_a_later_write(letter: bytes, is_later: bool) -> None:
    """INVARIANT: deleted is gone; a replay would bring back a document of a collection that was deleted since."""
    order = b'{"op": "delete_collection", "collection": "default"}'
    assert (later_write(replace(LETTER, payload=letter), 6, "m", order, AT) is not None) == is_later


def test_its_own_replay_is_no_later_write() -> None:
    assert later_write(LETTER, 6, message_id_of(LETTER), b'{"id": "d", "text": "t"}', AT) is None


def test_the_message_has_its_own_headers_but_no_trace_and_no_orders_to_the_broker() -> None:
    headers = {
        "My-Header": "kept",
        "Rag-Correlation-Id": "kept",
        "Nats-Msg-Id": "m",
        "nats-rollup": "all",
        "traceparent": "t",
        "Tracestate": "s",
    }
    assert headers_of(replace(LETTER, headers=headers)) == {
        "My-Header": "kept",
        "Rag-Correlation-Id": "kept",
        "Rag-Replay-Of": "7",
    }


def test_each_letter_has_a_message_id_of_its_own_that_stays() -> None:
    letter = replace(LETTER, headers={"Nats-Msg-Id": "m"})
    assert message_id_of(letter) == message_id_of(LETTER) != "m"
    assert message_id_of(replace(LETTER, sequence=8)) != message_id_of(LETTER)
