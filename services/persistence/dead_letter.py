"""Dead letters: what is stored of one, and what it means for the document that the original message was about."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from contracts import subjects
from contracts.chunks import ChunksEmbedded, ChunksReady, DocumentPart
from contracts.codec import DecodeError, decode
from contracts.facts import FACT_TYPES, DocumentFact
from contracts.topology import PERSISTENCE
from services.persistence.events import CollectionDeleted, DocumentEvent, Failed, Refused, UpsertAccepted
from services.persistence.intake import read_message

_PARTS: Mapping[str, type[DocumentPart]] = {
    subjects.CHUNKS_READY: ChunksReady,
    subjects.CHUNKS_EMBEDDED: ChunksEmbedded,
}
# Without one of these reports a document would never come to an end; the other facts change nothing in its state.
_REPORTS = (subjects.DOCUMENT_PARSED, subjects.CHUNKS_INDEXED)
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message that nobody could process; `headers` and `payload` are the original ones.

    `sequence` is its place in the DEAD stream, `stream_sequence` the place of the original in `stream`. `traceparent`
    is the original's where it had one, else that of the work which failed.
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
    document_id: str | None = None
    revision: int | None = None
    created_at: datetime

    def row(self) -> dict[str, Any]:
        """Return the table row."""
        return asdict(self)

    def about(self, payload: bytes, events: Sequence[DocumentEvent]) -> "DeadLetter":
        """Return the letter with the document that its message is about; `payload` is the whole original."""
        if events:
            return replace(self, document_id=events[0].document_id, revision=events[0].revision)
        fact = _fact_of(self, payload)
        return replace(self, document_id=fact.document_id, revision=fact.revision) if fact else self


def read_dead_letter(
    sequence: int, subject: str, headers: Mapping[str, str], payload: bytes, at: datetime
) -> DeadLetter:
    """Return the letter that lies on a dead-letter subject; whatever a header does not say is left unknown."""
    tenant = headers.get(subjects.HEADER_TENANT, UNKNOWN)
    original = _original_headers(headers)
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
        headers=original,
        payload=payload,
        object_name=_object_name(headers),
        deliveries=_number(headers.get(subjects.HEADER_DEAD_DELIVERIES)),
        traceparent=original.get(subjects.HEADER_TRACEPARENT) or headers.get(subjects.HEADER_TRACEPARENT),
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
        return _events_of_report(letter, payload, at)
    try:
        part = decode(kind, payload)
    except DecodeError:
        return ()
    return (_failed(letter, letter.tenant, part.document_id, part.revision, at),)


def _events_of_report(letter: DeadLetter, payload: bytes, at: datetime) -> tuple[DocumentEvent, ...]:
    fact = _fact_of(letter, payload) if letter.subject in _REPORTS and letter.consumer == PERSISTENCE.name else None
    return (_failed(letter, letter.tenant, fact.document_id, fact.revision, at),) if fact else ()


def _fact_of(letter: DeadLetter, payload: bytes) -> DocumentFact | None:
    kind = FACT_TYPES.get(letter.subject)
    if kind is None or not issubclass(kind, DocumentFact):
        return None
    try:
        return decode(kind, payload)
    except DecodeError:
        return None


def _events_of_message(letter: DeadLetter, payload: bytes, at: datetime) -> tuple[DocumentEvent, ...]:
    try:
        tenant = subjects.tenant_of(letter.subject)
    except ValueError:
        return ()
    revision = letter.stream_sequence
    message = read_message(tenant, revision, payload, at, letter.headers) if revision else None
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


def _original_headers(headers: Mapping[str, str]) -> dict[str, str]:
    named = ((subjects.header_of_original(name), value) for name, value in headers.items())
    return {name: value for name, value in named if name is not None}


def _object_name(headers: Mapping[str, str]) -> str | None:
    """Return where the payload lies; never anything but a payload of a dead letter."""
    name = headers.get(subjects.HEADER_DEAD_OBJECT, "")
    return name if name.startswith(subjects.DEAD_OBJECT_PREFIX) else None
