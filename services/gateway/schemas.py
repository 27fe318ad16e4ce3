"""Bodies and answers of the HTTP API."""

from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, ConfigDict, Field, StrictBool, StringConstraints, field_validator

from contracts.dead_letters import MAX_LISTED, NAME_PATTERN, DeadLetterView
from contracts.documents import CollectionName, DocumentId, Metadata, UpsertInput
from contracts.messages import Message
from contracts.queries import Citation
from contracts.reads import ChunkCounts, CollectionView, DocumentError, DocumentStatus, DocumentView
from contracts.retrieval import SearchMode

MAX_DOCUMENTS: Final = 100
MAX_QUERY_CHARACTERS: Final = 8_000
MAX_PAGE: Final = 500
DEFAULT_PAGE: Final = 50

Question = Annotated[str, StringConstraints(min_length=1, max_length=MAX_QUERY_CHARACTERS, pattern=r"\S")]
Filter = Annotated[
    dict[str, Any],
    Field(
        description='`{"field": value}`, `{"field": [any, of]}`, `{"field": {"gte": 1, "lt": 2}}`; several fields are '
        'and-ed; `{"any": [filter…]}`, `{"not": filter}`.'
    ),
]
ConversationId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class Document(UpsertInput):
    """A document to index; without `id` it is known by its `uri`, else by its content."""

    @field_validator("object", mode="before")
    @classmethod
    def _no_object(cls, value: Any) -> Any:
        if value is not None:
            raise ValueError("cannot be named by a caller; send `text`, `content` or a multipart upload")
        return value


class DocumentsBody(Message):
    """Documents to index, in the order of their revisions."""

    documents: list[Document] = Field(min_length=1, max_length=MAX_DOCUMENTS)


class FileDescription(Message):
    """What an upload says of one file; its `metadata` is added to that of the form.

    Without `id` the document is known by its `uri`, else by its content; without `title` it has the file's name.
    """

    id: DocumentId | None = None
    title: str | None = None
    uri: str | None = None
    metadata: Metadata = Field(default_factory=dict)


class UploadForm(Message):
    """The fields of an upload beside its files; they hold for every file, but `documents`: one entry for each file."""

    collection: CollectionName = "default"
    metadata: Metadata = Field(default_factory=dict)
    documents: list[FileDescription] = Field(default_factory=list)


class DocumentReceipt(Message):
    """One accepted document; `error` tells why it failed when the caller waited for that."""

    id: DocumentId
    collection: str
    revision: int
    status: DocumentStatus
    duplicate: bool = False
    error: DocumentError | None = None


class DocumentsReceipt(Message):
    """The accepted documents, in the order of the request."""

    documents: list[DocumentReceipt]


class DeleteReceipt(Message):
    """The delete is recorded, and from now on nothing shows the document."""

    id: DocumentId
    collection: str
    revision: int
    status: Literal["deleted"] = "deleted"


class CollectionDeleteReceipt(Message):
    """The delete is recorded, and from now on nothing shows what was in the collection before it."""

    name: CollectionName
    revision: int
    status: Literal["deleted"] = "deleted"


class Documents(Message):
    """A page of documents."""

    items: list[DocumentView]
    next_cursor: str | None


class Collections(Message):
    """The collections of the tenant."""

    items: list[CollectionView]
    next_cursor: str | None


class UsageLimits(Message):
    """What a tenant may have; null stands for any amount."""

    documents: int | None
    bytes: int | None


class TenantUsage(Message):
    """What a tenant has: documents that are under way or shown, and their bytes as they were sent."""

    documents: int
    bytes: int
    limits: UsageLimits


class DocumentState(Message):
    """The data of an event: where a document stands."""

    id: DocumentId
    revision: int
    status: DocumentStatus
    chunks: ChunkCounts
    error: DocumentError | None


class SearchBody(Message):
    """What to search for."""

    query: Question
    collection: CollectionName | None = None
    top_k: int = Field(default=10, ge=1, le=100)
    filter: Filter | None = None
    mode: SearchMode = "hybrid"
    rerank: StrictBool = False


class Hit(Message):
    """A chunk that was found, `ordinal` its place in the document; scores are comparable within one answer only."""

    document_id: DocumentId
    chunk_id: str
    collection: str
    title: str | None
    uri: str | None
    text: str
    score: float
    metadata: Metadata
    heading_path: list[str]
    ordinal: int
    page: int | None = None


class SearchAnswer(Message):
    """Hits, best first, and where the time went in milliseconds.

    `reranked` is there when reranking was asked for: false means that its time was spent before it had an order.
    """

    hits: list[Hit]
    took_ms: dict[str, float]
    reranked: bool | None = None
    trace_id: str


class QueryBody(Message):
    """A question to answer from the documents.

    `conversation_id` continues a conversation, or begins the one of this id; `new` begins one and the answer names it.
    Without it nothing is kept.
    """

    question: Question
    collection: CollectionName | None = None
    mode: Literal["rag", "agent"] = "rag"
    conversation_id: ConversationId | None = None
    top_k: int = Field(default=10, ge=1, le=100)
    filter: Filter | None = None
    stream: StrictBool = False


class QueryAnswer(Message):
    """The answer with its sources; `answered` is false when the documents hold none."""

    id: str
    answer: str
    answered: bool
    citations: list[Citation]
    steps: list[dict[str, Any]]
    usage: dict[str, float]
    cached: bool
    conversation_id: str | None
    trace_id: str


class Stage(Message):
    """A durable consumer: what waits for it, what it works on, how fast it gets on (null until two samples).

    `oldest_age_s` is how long ago the oldest message was stored that is not finished, null when there is none.
    `dead_letters` counts those of all tenants.
    """

    stage: str
    stream: str
    backlog: int
    in_flight: int
    redelivered: int
    dead_letters: int
    rate_per_s: float | None
    oldest_age_s: float | None
    consumers_seen: int


class StreamState(Message):
    """A stream: what it holds and what it may hold."""

    name: str
    messages: int
    bytes: int
    max_bytes: int
    first_sequence: int
    last_sequence: int
    consumers: int


class PipelineState(Message):
    """Every stage and every stream."""

    stages: list[Stage]
    streams: list[StreamState]


class DeadLetters(Message):
    """A page of dead letters, newest first."""

    items: list[DeadLetterView]
    next_cursor: str | None


class DeadPayload(Message):
    """A payload: `value` is JSON, or base64 of its first bytes where it is none or too large to show.

    `missing` tells that the object store has let go of it.
    """

    encoding: Literal["json", "base64"]
    value: Any
    truncated: bool
    missing: bool


class DeadLetter(DeadLetterView):
    """A dead letter with its message as it was."""

    stream: str
    stream_sequence: int
    headers: dict[str, str]
    payload: DeadPayload


class ReplayBody(Message):
    """Which letters to send again, oldest first; without any field every one. An unknown field is an error."""

    # A misspelt filter must not stand for no filter.
    model_config = ConfigDict(extra="forbid")

    consumer: str | None = Field(default=None, pattern=NAME_PATTERN)
    code: str | None = Field(default=None, pattern=NAME_PATTERN)
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    limit: int = Field(default=100, ge=1, le=MAX_LISTED)
    cursor: str | None = Field(default=None, max_length=1_024)


class ReplayReceipt(Message):
    """A letter was sent again as message `sequence` of `stream`; `trace_id` is the new trace.

    `revision` is the one of the document that is worked on now.
    """

    seq: int
    stream: str
    sequence: int
    document_id: str | None
    revision: int | None
    trace_id: str


class ReplayCounts(Message):
    """What became of the letters of one request; `refused` counts by code those that keep their place in the list.

    `stopped` says what kept the rest from being tried; without it `next_cursor` goes on with those that are left.
    """

    matched: int
    replayed: int
    refused: dict[str, int]
    stopped: DocumentError | None
    next_cursor: str | None


class DiscardReceipt(Message):
    """The letter is gone; its document stays as it is."""

    seq: int
    status: Literal["discarded"] = "discarded"


class FieldError(Message):
    """One wrong field."""

    field: str
    message: str


class Problem(Message):
    """An RFC 9457 problem; `code` is for programs, `detail` for people, `field` names the input that is wrong."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    trace_id: str
    field: str | None = None
    errors: list[FieldError] = Field(default_factory=list)
    accepted: list[DocumentReceipt] = Field(default_factory=list)
