"""Read requests that persistence answers."""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field

from contracts.documents import DocumentId, Metadata, PrintableText
from contracts.messages import Message, Sequence

DocumentStatus = Literal["accepted", "processing", "indexed", "failed", "deleted"]
DocumentOrder = Literal["id", "newest"]
MAX_NAMED_DOCUMENTS: Final = 100
# A part of a title; who has no title is listed under its id.
TitlePart = Annotated[PrintableText, Field(min_length=1, max_length=256)]
TERMINAL_STATUSES: frozenset[str] = frozenset({"indexed", "failed", "deleted"})


class ChunkCounts(Message):
    """How many chunks the current revision has (0 while unknown) and how many of them are in the index."""

    total: int = 0
    indexed: int = 0


class DocumentError(Message):
    """Why a document failed."""

    code: str
    message: str


class DocumentView(Message):
    """A document as a reader sees it."""

    id: str
    collection: str
    title: str | None = None
    uri: str | None = None
    status: DocumentStatus
    revision: int
    chunks: ChunkCounts
    error: DocumentError | None = None
    created_at: datetime
    updated_at: datetime
    metadata: Metadata


class DocumentQuery(Message):
    """Ask for one document of a tenant."""

    tenant: str
    document_id: str


class DocumentListQuery(Message):
    """Ask for a page of documents, by id or the newest first; `cursor` is what the page before it returned.

    `title` is part of a title, or of the id where there is none, in capitals or not; `ids` names documents.
    """

    tenant: str
    collection: str | None = None
    status: DocumentStatus | None = None
    title: TitlePart | None = None
    ids: list[DocumentId] | None = Field(default=None, max_length=MAX_NAMED_DOCUMENTS)
    order: DocumentOrder = "id"
    limit: int = Field(default=50, ge=1, le=500)
    cursor: str | None = None


class DocumentPage(Message):
    """A page of documents; `next_cursor` is null on the last page."""

    items: list[DocumentView]
    next_cursor: str | None = None


class CollectionsQuery(Message):
    """Ask for the collections of a tenant, or for one of them by name."""

    tenant: str
    name: str | None = None


class CollectionView(Message):
    """A collection: documents by status (deleted ones are not counted) and chunks in the index."""

    name: str
    documents: int
    chunks: int
    by_status: dict[str, int]


class CollectionList(Message):
    """The collections of a tenant."""

    items: list[CollectionView]


class IdempotencyQuery(Message):
    """Ask which of these idempotency keys (already hashed per document) were seen."""

    tenant: str
    keys: list[str] = Field(min_length=1, max_length=100)


class IdempotencyRecord(Message):
    """What a key was used for."""

    key: str
    document_id: str
    collection: str
    revision: int
    digest: str


class IdempotencyReply(Message):
    """The keys that were seen."""

    records: list[IdempotencyRecord]


class UsageQuery(Message):
    """Ask what a tenant uses of its quota, and what some of its documents do."""

    tenant: str
    documents: list[str] = Field(default_factory=list, max_length=100)


class Usage(Message):
    """Documents, and bytes of what they were sent as."""

    documents: Sequence
    size_bytes: Sequence


class DocumentUsage(Message):
    """What one document counts; `admitted_bytes` is null while it is not past the parser."""

    document_id: str
    size_bytes: Sequence
    admitted_bytes: Sequence | None = None


class UsageReply(Message):
    """What counts: every document that is under way or shown; of them, `admitted` are past the parser.

    `of` lists which of the documents that were asked for count. A document under way that replaces one which is shown
    counts once, with the larger of the two sizes.
    """

    used: Usage
    admitted: Usage
    of: list[DocumentUsage]
