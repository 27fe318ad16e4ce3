"""The units of work: each takes events or rows and a connection, and returns what to publish after the commit."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from contracts import subjects
from services.persistence.announcements import Announcement
from services.persistence.events import DocumentEvent, UpsertAccepted
from services.persistence.lifecycle import apply
from services.persistence.store import add_dead_letter, load, remember_key, save

MAX_KEY_CHARACTERS = 128


def record(connection: Connection, events: Sequence[DocumentEvent]) -> tuple[Announcement, ...]:
    """Store what happened to one document."""
    if not events:
        return ()
    before = state = load(connection, events[0].tenant, events[0].document_id)
    effects: list[Announcement] = []
    for event in events:
        transition = apply(state, event)
        state = transition.state
        effects += transition.effects
    if state is not None and state != before:
        save(connection, before, state)
    return tuple(effects)


def record_message(
    connection: Connection, event: DocumentEvent, key: Mapping[str, Any] | None
) -> tuple[Announcement, ...]:
    """Store what an ingestion message means, and what its idempotency key was used for."""
    if key is not None:
        remember_key(connection, key)
    return record(connection, [event])


def record_dead_letter(
    connection: Connection, row: Mapping[str, Any], events: Sequence[DocumentEvent]
) -> tuple[Announcement, ...]:
    """Store a dead letter, and the failure of the document that it is about."""
    add_dead_letter(connection, row)
    return record(connection, events)


def idempotency_row(headers: Mapping[str, str], payload: bytes, event: DocumentEvent) -> dict[str, Any] | None:
    """Return what to remember of a document that came under an idempotency key; None without a usable key."""
    key = headers.get(subjects.HEADER_IDEMPOTENCY, "")
    usable = 0 < len(key) <= MAX_KEY_CHARACTERS and key.isascii() and key.isprintable()
    if not usable or not isinstance(event, UpsertAccepted):
        return None
    return {
        "tenant": event.tenant,
        "key": key,
        "document_id": event.document_id,
        "collection": event.collection,
        "revision": event.revision,
        "digest": hashlib.sha256(payload).hexdigest(),
        "created_at": event.at,
    }


def key_of(tenant: str, document_id: str) -> str:
    """Return what orders the units of work of one document."""
    return f"{tenant}\n{document_id}"
