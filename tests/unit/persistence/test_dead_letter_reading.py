"""What a message of the DEAD stream says of the message that died."""

from datetime import UTC, datetime
from typing import Any

import pytest

from contracts import subjects
from contracts.codec import encode
from contracts.facts import ChunksIndexed, DocumentDeleted, DocumentParsed
from contracts.messages import Message
from services.persistence.dead_letter import DeadLetter, document_events, read_dead_letter
from services.persistence.events import Failed
from shared.telemetry import trace_id_in

AT = datetime(2026, 11, 1, tzinfo=UTC)
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
LATER = "00-11111111111111111111111111111111-00f067aa0ba902b7-01"


def letter(headers: dict[str, str] | None = None, payload: bytes = b"{}", **dead: str) -> DeadLetter:
    named = {f"Rag-Dead-{name.title()}": value for name, value in dead.items()}
    fields = {subjects.HEADER_TENANT: "acme", **named, **(headers or {})}
    return read_dead_letter(7, subjects.dead(dead.get("consumer", "parser")), fields, payload, AT)


def carried(headers: dict[str, str]) -> dict[str, str]:
    return {subjects.header_in_letter(name): value for name, value in headers.items()}


@pytest.mark.parametrize(
    "header",
    [
        "My-Header",
        "Nats-Msg-Id",
        "traceparent",
        "Traceparent",
        "tracestate",
        "Rag-Tenant",
        "Rag-Dead-Object",
        "Rag-Deadline",
    ],
)
def test_every_original_header_is_kept_whatever_it_means_to_others(header: str) -> None:
    assert letter(carried({header: "theirs"})).headers == {header: "theirs"}


def test_a_header_of_the_original_cannot_pass_for_one_of_the_letter() -> None:
    """INVARIANT: a tenant sees only its own. A producer that names another's payload would otherwise be shown it."""
    forged = letter(carried({"Rag-Dead-Object": "dead/parser/INGEST/1", "rag-dead-field": "x", "Rag-Tenant": "other"}))
    assert (forged.object_name, forged.field, forged.tenant) == (None, None, "acme")


def test_only_a_payload_of_a_dead_letter_is_taken_from_the_object_store() -> None:
    assert letter(object="dead/parser/INGEST/1").object_name == "dead/parser/INGEST/1"
    assert letter(object="somebody-s-upload").object_name is None


def test_the_trace_is_the_one_of_the_message_else_the_one_where_it_died() -> None:
    died = {"traceparent": LATER}
    assert letter({**died, **carried({"traceparent": PARENT})}).traceparent == PARENT
    assert letter(died).traceparent == LATER
    assert trace_id_in(PARENT) == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert trace_id_in("kept") is None


def of_fact(fact: Message, subject: str, consumer: str) -> tuple[DeadLetter, tuple[Any, ...]]:
    payload = encode(fact)
    found = letter(payload=payload, subject=subject, consumer=consumer, code="internal_error", reason="a bug")
    events = document_events(found, payload, AT)
    return found.about(payload, events), events


PARSED = DocumentParsed(
    tenant="acme", document_id="d", revision=3, batches=1, chunks=1, characters=1, media_type="text/plain"
)
INDEXED = ChunksIndexed(tenant="acme", document_id="d", revision=3, batch=0, chunks=1)


@pytest.mark.parametrize(
    ("fact", "subject"),
    [(PARSED, subjects.DOCUMENT_PARSED), (INDEXED, subjects.CHUNKS_INDEXED)],
    ids=["parsed", "batch"],
)
def test_a_report_that_could_not_be_recorded_fails_its_document(fact: Message, subject: str) -> None:
    """INVARIANT: every accepted document reaches a terminal state. Without the report it would be in work for ever."""
    found, events = of_fact(fact, subject, "persistence")
    [event] = events
    assert isinstance(event, Failed)
    assert (event.document_id, event.revision, event.code) == ("d", 3, "internal_error")
    assert (found.document_id, found.revision) == ("d", 3)


def test_a_cleaning_that_failed_names_its_document_and_does_not_fail_it() -> None:
    gone = DocumentDeleted(tenant="acme", document_id="d", revision=3)
    found, events = of_fact(gone, subjects.DOCUMENT_DELETED, "retriever-cleanup")
    assert events == ()
    assert (found.document_id, found.revision) == ("d", 3)
