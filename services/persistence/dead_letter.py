"""Dead letters: what is stored of one, and what it means for the document that the original message was about."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from contracts import subjects
from contracts.chunks import ChunksEmbedded, ChunksReady, DocumentPart
from contracts.codec import DecodeError, decode
from services.persistence.events import CollectionDeleted, DocumentEvent, Failed, Refused, UpsertAccepted
from services.persistence.intake import read_message

_PARTS: Mapping[str, type[DocumentPart]] = {
    subjects.CHUNKS_READY: ChunksReady,
    subjects.CHUNKS_EMBEDDED: ChunksEmbedded,
}
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message that nobody could process; `headers` and `payload` are the original ones.

    `sequence` is its place in the DEAD stream, `stream_sequence` the place of the original in `stream`.
    """

    sequence: int
    consumer: str
    stream: str
    stream_sequence: int
    subject: str
    tenant: str
    reason: str
    code: str
    field: str | None
    error: str
    headers: dict[str, str]
    payload: bytes
    object_name: str | None
    deliveries: int
    traceparent: str | None
    created_at: datetime

    def row(self, events: tuple[DocumentEvent, ...]) -> dict[str, Any]:
        """Return the table row, with the document that the letter is about."""
        about: dict[str, Any] = {"document_id": None, "revision": None}
        for event in events[:1]:
            about = {"document_id": event.document_id, "revision": event.revision}
        return {**asdict(self), **about}


def read_dead_letter(
    sequence: int, subject: str, headers: Mapping[str, str], payload: bytes, at: datetime
) -> DeadLetter:
    """Return the letter that lies on a dead-letter subject; whatever a header does not say is left unknown."""
    tenant = headers.get(subjects.HEADER_TENANT, UNKNOWN)
    return DeadLetter(
        sequence=sequence,
        consumer=headers.get(subjects.HEADER_DEAD_CONSUMER) or subject.rpartition(".")[2],
        stream=headers.get(subjects.HEADER_DEAD_STREAM, UNKNOWN),
        stream_sequence=_number(headers.get(subjects.HEADER_DEAD_SEQUENCE)),
        subject=headers.get(subjects.HEADER_DEAD_SUBJECT, UNKNOWN),
        tenant=tenant if subjects.TENANT_PATTERN.match(tenant) else UNKNOWN,
        reason=headers.get(subjects.HEADER_DEAD_REASON, UNKNOWN),
        code=headers.get(subjects.HEADER_DEAD_CODE) or UNKNOWN,
        field=headers.get(subjects.HEADER_DEAD_FIELD),
        error=headers.get(subjects.HEADER_DEAD_ERROR, UNKNOWN),
        headers={name: value for name, value in headers.items() if not _is_ours(name)},
        payload=payload,
        object_name=headers.get(subjects.HEADER_DEAD_OBJECT),
        deliveries=_number(headers.get(subjects.HEADER_DEAD_DELIVERIES)),
        traceparent=headers.get(subjects.HEADER_TRACEPARENT),
        created_at=at,
    )


def document_events(letter: DeadLetter, payload: bytes, at: datetime) -> tuple[DocumentEvent, ...]:
    """Return what a letter means for its document; nothing when the original was about none.

    `payload` is the whole original, wherever it was kept. A dead ingestion message first counts as seen by intake:
    intake itself may be the consumer that never came to see it, and the document would stay hidden for ever.
    """
    if subjects.template_of(letter.subject) == subjects.INGEST_TEMPLATE:
        return _events_of_message(letter, payload, at)
    kind = _PARTS.get(letter.subject)
    if kind is None:
        return ()
    try:
        part = decode(kind, payload)
    except DecodeError:
        return ()
    return (_failed(letter, letter.tenant, part.document_id, part.revision, at),)


def _events_of_message(letter: DeadLetter, payload: bytes, at: datetime) -> tuple[DocumentEvent, ...]:
    try:
        tenant = subjects.tenant_of(letter.subject)
    except ValueError:
        return ()
    revision = letter.stream_sequence
    message = read_message(tenant, revision, payload, at) if revision else None
    if message is None or isinstance(message, CollectionDeleted):
        return ()
    if isinstance(message, UpsertAccepted):
        return (message, _failed(letter, tenant, message.document_id, revision, at))
    # A dead delete has deleted nothing: its document must not look as if nobody had asked for it.
    refused = Refused(
        tenant=tenant,
        document_id=message.document_id,
        revision=revision,
        at=at,
        code=letter.code,
        message=letter.reason,
        collection=message.collection if isinstance(message, Refused) else None,
    )
    return (refused,)


def _failed(letter: DeadLetter, tenant: str, document_id: str, revision: int, at: datetime) -> Failed:
    return Failed(
        tenant=tenant, document_id=document_id, revision=revision, at=at, code=letter.code, message=letter.reason
    )


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else 0


def _is_ours(name: str) -> bool:
    """Tell whether a header speaks of the dead letter and not of the original."""
    return name.startswith(subjects.DEAD_HEADER_PREFIX) or name.lower().startswith("nats-")
