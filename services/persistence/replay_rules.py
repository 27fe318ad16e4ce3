"""What may be sent again, and as what.

A letter of INGEST becomes a new message there, and so a new revision of its document: it must not come after a later
write. A letter of CHUNKS or VECTORS goes on with the revision that it names. A fact is about the past and harms nobody.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from contracts import subjects
from contracts.topology import AGENT, EMBEDDER, PARSER, PERSISTENCE, RETRIEVER
from services.persistence.dead_letter import DeadLetter
from services.persistence.events import CollectionDeleted, DeleteAccepted, UpsertAccepted
from services.persistence.intake import read_message

INGEST: Final = PARSER.stream
FACTS: Final = PERSISTENCE.stream
_REPLAYABLE: Final = frozenset({INGEST, EMBEDDER.stream, RETRIEVER.stream, FACTS})
_NOT_SENT_AGAIN: Final = frozenset({subjects.HEADER_TRACEPARENT, subjects.HEADER_TRACESTATE})


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a letter is not sent again: `code` for programs, `message` for people."""

    code: str
    message: str


PAYLOAD_MISSING: Final = Refusal(
    "payload_missing", "its payload is no longer in the object store; send the document again and discard this letter"
)


def refusal_of(letter: DeadLetter) -> Refusal | None:
    """Return why a letter can't be sent again whatever happened since, None when it can."""
    if letter.stream == AGENT.stream:
        return Refusal("not_replayable", "nobody waits for the answer to this question any more; ask it again")
    if letter.stream not in _REPLAYABLE or not _goes_where_it_came_from(letter):
        return Refusal("not_replayable", f"a message of {letter.subject} can't be sent again; discard this letter")
    if letter.stream == INGEST and letter.document_id is None:
        # Nobody could tell what it would overwrite.
        return Refusal(
            "not_replayable", "this message tells of no document; mend it and publish it, discard this letter"
        )
    return None


def outdated(letter: DeadLetter, latest_revision: int) -> Refusal | None:
    """Return why a letter comes too late when its document has this revision, None when it does not."""
    if letter.stream == FACTS or letter.revision is None or latest_revision <= letter.revision:
        return None
    return Refusal(
        "newer_revision",
        f"document {letter.document_id!r} has revision {latest_revision}, and this letter is of revision "
        f"{letter.revision}: sent again it would bring back old content; discard it",
    )


def later_write(
    letter: DeadLetter, sequence: int, message_id: str | None, payload: bytes, at: datetime
) -> Refusal | None:
    """Return why a letter comes too late beside a message that still lies in INGEST, None when it does not."""
    if message_id == message_id_of(letter):
        return None
    event = read_message(letter.tenant, sequence, payload, at)
    if isinstance(event, CollectionDeleted):
        return outdated(letter, sequence) if _may_be_in(letter, event.collection) else None
    return outdated(letter, sequence) if event is not None and event.document_id == letter.document_id else None


def _may_be_in(letter: DeadLetter, collection: str) -> bool:
    """A letter whose message can't be read, or lies elsewhere, may be of any collection."""
    about = read_message(letter.tenant, letter.stream_sequence, letter.payload, letter.created_at)
    return not isinstance(about, UpsertAccepted | DeleteAccepted) or about.collection == collection


def headers_of(letter: DeadLetter) -> dict[str, str]:
    """Return the headers to send: the original ones but for the trace, which begins anew, and orders to the broker."""
    kept = {
        name: value
        for name, value in letter.headers.items()
        if name.lower() not in _NOT_SENT_AGAIN and not name.lower().startswith("nats-")
    }
    return {**kept, subjects.HEADER_REPLAY_OF: str(letter.sequence)}


def message_id_of(letter: DeadLetter) -> str:
    """Return the message id: not the original's, and the same however often the letter is sent again."""
    return f"replay:{letter.sequence}:{letter.consumer}:{letter.stream}:{letter.stream_sequence}"


def _goes_where_it_came_from(letter: DeadLetter) -> bool:
    if letter.stream == INGEST:
        return letter.subject == subjects.ingest(letter.tenant)
    if letter.stream == FACTS:
        return letter.subject.startswith(subjects.FACTS_ALL.removesuffix(">"))
    return letter.subject in (subjects.CHUNKS_READY, subjects.CHUNKS_EMBEDDED)
