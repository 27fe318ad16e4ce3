"""Dead letters: listed, looked at, sent again, discarded; persistence answers, always for one tenant."""

from typing import Final, Literal

from pydantic import AwareDatetime, Field

from contracts.documents import DocumentId
from contracts.messages import MAX_SEQUENCE, Message, Sequence

MAX_LISTED: Final = 500
# Bounds the time of one request; who wants more sends several.
MAX_REPLAYED: Final = 20
# What consumers and codes are called.
NAME_PATTERN: Final = r"^[A-Za-z0-9._-]{1,100}$"

ReplayStatus = Literal["replayed", "refused", "missing", "failed"]


class DeadLetterListQuery(Message):
    """Ask for a page of letters, newest first; `cursor` is what the page before returned."""

    tenant: str
    consumer: str | None = Field(default=None, pattern=NAME_PATTERN)
    code: str | None = Field(default=None, pattern=NAME_PATTERN)
    document_id: DocumentId | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    oldest_first: bool = False
    limit: int = Field(default=50, ge=1, le=MAX_LISTED)
    cursor: str | None = None


class DeadLetterView(Message):
    """A message that nobody could process; `seq` is its place in the DEAD stream, `trace_id` says where it died.

    `size_bytes` is null where the payload was too large for a letter and lies in the object store.
    """

    seq: int
    consumer: str
    subject: str
    code: str
    reason: str
    field: str | None = None
    error: str
    deliveries: int
    document_id: str | None = None
    revision: int | None = None
    trace_id: str | None = None
    size_bytes: int | None = None
    created_at: AwareDatetime


class DeadLetterPage(Message):
    """A page of letters; `next_cursor` is null on the last page."""

    items: list[DeadLetterView]
    next_cursor: str | None = None


class DeadLetterQuery(Message):
    """Ask for one letter."""

    tenant: str
    seq: int = Field(ge=1, le=MAX_SEQUENCE)


class DeadLetterContent(DeadLetterView):
    """A letter with the message as it was: its headers and the beginning of its payload.

    `payload_missing` tells that the object store has let go of it.
    """

    stream: str
    stream_sequence: int
    headers: dict[str, str]
    payload: bytes
    payload_missing: bool = False


class ReplayRequest(Message):
    """Have letters sent again, in this order."""

    tenant: str
    seqs: list[Sequence] = Field(min_length=1, max_length=MAX_REPLAYED)


class ReplayOutcome(Message):
    """What became of one letter: sent again as message `sequence` of `stream`, or why not (`code`, `message`).

    `refused` will stay so, `failed` may work later. `document_id` and `revision` name what is worked on now.
    """

    seq: int
    status: ReplayStatus
    code: str | None = None
    message: str | None = None
    stream: str | None = None
    sequence: int | None = None
    document_id: str | None = None
    revision: int | None = None
    collection: str | None = None
    trace_id: str | None = None


class ReplayReply(Message):
    """One outcome for each letter, in the order of the request; those after a failed one were not tried."""

    outcomes: list[ReplayOutcome]


class DiscardRequest(Message):
    """Have a letter removed for good."""

    tenant: str
    seq: int = Field(ge=1, le=MAX_SEQUENCE)


class DiscardReply(Message):
    """The letter is gone."""

    seq: int
