"""What happened, in the past tense, for any number of readers."""

from typing import Final, Literal

from pydantic import Field

from contracts import audit, subjects
from contracts.conversations import MAX_COMMENT_CHARACTERS, Rating
from contracts.messages import MAX_COUNT, Count, Fact, Revision, Sequence


class DocumentFact(Fact):
    """A fact about one revision of one document."""

    document_id: str
    revision: Revision


class DocumentAccepted(DocumentFact):
    """The platform has recorded the message and will bring the document to a terminal state."""

    collection: str
    op: Literal["upsert", "delete"]


class DocumentParsed(DocumentFact):
    """The text is extracted and every batch of its chunks is on its way.

    `size_bytes` is the size of what the document was sent as, before any text was taken out; older releases leave it
    out.
    """

    batches: int = Field(ge=1, le=MAX_COUNT)
    chunks: int = Field(ge=1, le=MAX_COUNT)
    characters: Sequence
    media_type: str
    title: str | None = None
    size_bytes: Sequence | None = None


class ChunksIndexed(DocumentFact):
    """One batch of chunks is in the index."""

    batch: Count
    chunks: int = Field(ge=1, le=MAX_COUNT)


class DocumentIndexed(DocumentFact):
    """Every chunk of this revision is in the index; older revisions may go."""

    collection: str
    chunks: int = Field(ge=1, le=MAX_COUNT)


class DocumentSuperseded(DocumentFact):
    """`revision` is outdated: whatever of it reaches the index must go."""

    current_revision: Revision


class DocumentDeleted(DocumentFact):
    """The document is gone as of `revision`."""


class DocumentFailed(DocumentFact):
    """This revision can't be indexed; `code` is for programs, `message` for people."""

    code: str
    message: str


class QueryAnswered(Fact):
    """A question got its answer; the text of neither is in here."""

    query_id: str
    answered: bool
    citations: int
    duration_ms: float
    conversation_id: str | None = None


class QueryFailed(Fact):
    """A question got an error instead of an answer."""

    query_id: str
    code: str
    message: str
    conversation_id: str | None = None


class FeedbackGiven(Fact):
    """Somebody rated the answer to a question; of several ratings the last one counts."""

    query_id: str
    rating: Rating
    comment: str | None = Field(default=None, max_length=MAX_COMMENT_CHARACTERS)
    trace_id: str | None = None
    conversation_id: str | None = None


FACT_TYPES: Final[dict[str, type[Fact]]] = {
    subjects.DOCUMENT_ACCEPTED: DocumentAccepted,
    subjects.DOCUMENT_PARSED: DocumentParsed,
    subjects.DOCUMENT_INDEXED: DocumentIndexed,
    subjects.DOCUMENT_SUPERSEDED: DocumentSuperseded,
    subjects.DOCUMENT_DELETED: DocumentDeleted,
    subjects.DOCUMENT_FAILED: DocumentFailed,
    subjects.CHUNKS_INDEXED: ChunksIndexed,
    subjects.QUERY_ANSWERED: QueryAnswered,
    subjects.QUERY_FAILED: QueryFailed,
    subjects.FEEDBACK_GIVEN: FeedbackGiven,
    subjects.AUDIT_KEY_USED: audit.KeyUsed,
    subjects.AUDIT_AUTH_FAILED: audit.AuthFailed,
    subjects.AUDIT_KEY_CREATED: audit.KeyCreated,
    subjects.AUDIT_KEY_REVOKED: audit.KeyRevoked,
    subjects.AUDIT_DELETED: audit.Deleted,
    subjects.AUDIT_REPLAYED: audit.LettersReplayed,
    subjects.AUDIT_DISCARDED: audit.LetterDiscarded,
    subjects.AUDIT_ADMIN_CALLED: audit.AdminCalled,
}
SUBJECT_OF_FACT: Final[dict[type[Fact], str]] = {fact: subject for subject, fact in FACT_TYPES.items()}
