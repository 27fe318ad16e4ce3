"""The tables."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, MetaData, Table
from sqlmodel import Field, SQLModel

from services.persistence.column_types import CleanJSON, CleanText, IdText, StreamSequence, UTCDateTime

_NAMES = {"ix": "ix_%(table_name)s_%(column_0_N_name)s", "pk": "pk_%(table_name)s"}


def _bytes_column() -> Column[int]:
    return Column(BigInteger, nullable=False, server_default="0")


class Base(SQLModel):
    """What all tables share: a metadata of their own, in which every constraint has a name."""

    metadata = MetaData(naming_convention=_NAMES)


class DocumentRow(Base, table=True):
    """A document; `status` is null while intake has seen no message of it, and readers then do not see it either.

    `ahead` holds what is known of a revision whose message intake has not seen yet.
    """

    __tablename__ = "documents"
    __table_args__ = (
        # Pages of a collection, pages of a status, and the counts of all collections out of the index alone.
        Index(None, "tenant", "collection", "document_id"),
        Index(None, "tenant", "status", "document_id"),
        Index(None, "tenant", "collection", "status", "visible_chunks"),
        # Pages of the newest.
        Index(None, "tenant", "created_at", "document_id"),
        # What the index shows, in the order in which the index lists it.
        Index(None, "visible_revision"),
        # What a tenant uses of its quota, out of the index alone.
        Index("ix_documents_usage", "tenant", "status", "visible_revision", "size_bytes", "visible_bytes"),
    )

    tenant: str = Field(sa_column=Column(IdText, primary_key=True))
    document_id: str = Field(sa_column=Column(IdText, primary_key=True))
    revision: int = Field(sa_column=Column(StreamSequence, nullable=False))
    status: str | None = Field(sa_column=Column(IdText))
    collection: str = Field(sa_column=Column(IdText, nullable=False))
    title: str | None = Field(sa_column=Column(CleanText))
    uri: str | None = Field(sa_column=Column(CleanText))
    fields: dict[str, Any] = Field(sa_column=Column("metadata", CleanJSON, nullable=False))
    batches: int = Field(sa_column=Column(Integer, nullable=False))
    chunks: int = Field(sa_column=Column(Integer, nullable=False))
    chunks_indexed: int = Field(sa_column=Column(Integer, nullable=False))
    error_code: str | None = Field(sa_column=Column(CleanText))
    error_message: str | None = Field(sa_column=Column(CleanText))
    visible_revision: int = Field(sa_column=Column(StreamSequence, nullable=False))
    visible_chunks: int = Field(sa_column=Column(Integer, nullable=False))
    ahead: dict[str, Any] | None = Field(sa_column=Column(CleanJSON))
    created_at: datetime = Field(sa_column=Column(UTCDateTime, nullable=False))
    updated_at: datetime = Field(sa_column=Column(UTCDateTime, nullable=False))
    # A replica of an older release leaves these out; what it stores in `ahead` may hold no name that it does not know.
    size_bytes: int = Field(sa_column=_bytes_column())
    visible_bytes: int = Field(sa_column=_bytes_column())
    ahead_bytes: int = Field(sa_column=_bytes_column())


class IndexedBatchRow(Base, table=True):
    """A batch of chunks that is in the index; inserted once, which is what makes a repeated report harmless."""

    __tablename__ = "indexed_batches"
    # The key is the whole row: without a row id SQLite stores it once.
    __table_args__ = ({"sqlite_with_rowid": False},)

    tenant: str = Field(sa_column=Column(IdText, primary_key=True))
    document_id: str = Field(sa_column=Column(IdText, primary_key=True))
    revision: int = Field(sa_column=Column(StreamSequence, primary_key=True, autoincrement=False))
    batch: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))


class CollectionDeleteRow(Base, table=True):
    """The last delete of a collection: documents of it with a lower revision go, whenever intake comes to see them.

    Up to `swept_revision` that is done; `swept_to` is the last document that the work on `revision` has come to, and
    `rewinds` counts how often it was sent back.
    """

    __tablename__ = "collection_deletes"
    __table_args__ = ({"sqlite_with_rowid": False},)

    tenant: str = Field(sa_column=Column(IdText, primary_key=True))
    collection: str = Field(sa_column=Column(IdText, primary_key=True))
    revision: int = Field(sa_column=Column(StreamSequence, nullable=False))
    swept_revision: int = Field(sa_column=Column(StreamSequence, nullable=False))
    swept_to: str | None = Field(sa_column=Column(IdText))
    rewinds: int = Field(sa_column=Column(Integer, nullable=False))


class LeaseRow(Base, table=True):
    """Which process does what only one shall do, and until when."""

    __tablename__ = "leases"
    __table_args__ = ({"sqlite_with_rowid": False},)

    name: str = Field(sa_column=Column(IdText, primary_key=True))
    holder: str = Field(sa_column=Column(IdText, nullable=False))
    expires_at: datetime = Field(sa_column=Column(UTCDateTime, nullable=False))


class IdempotencyKeyRow(Base, table=True):
    """What an idempotency key was used for first; `digest` is the SHA-256 of the message."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index(None, "created_at"), {"sqlite_with_rowid": False})

    tenant: str = Field(sa_column=Column(IdText, primary_key=True))
    key: str = Field(sa_column=Column(IdText, primary_key=True))
    document_id: str = Field(sa_column=Column(IdText, nullable=False))
    collection: str = Field(sa_column=Column(IdText, nullable=False))
    revision: int = Field(sa_column=Column(StreamSequence, nullable=False))
    digest: str = Field(sa_column=Column(IdText, nullable=False))
    created_at: datetime = Field(sa_column=Column(UTCDateTime, nullable=False))


class DeadLetterRow(Base, table=True):
    """A message that nobody could process, with its original headers and payload.

    `sequence` is its place in the DEAD stream, `stream_sequence` the place of the original in `stream`. A payload that
    was too large for a dead letter lies in the object store under `object_name`.
    """

    __tablename__ = "dead_letters"
    __table_args__ = (
        Index(None, "consumer", "stream", "stream_sequence"),
        Index(None, "created_at"),
        # Pages of a tenant.
        Index(None, "tenant", "sequence"),
    )

    sequence: int = Field(sa_column=Column(StreamSequence, primary_key=True, autoincrement=False))
    consumer: str = Field(sa_column=Column(CleanText, nullable=False))
    stream: str = Field(sa_column=Column(CleanText, nullable=False))
    stream_sequence: int = Field(sa_column=Column(StreamSequence, nullable=False))
    subject: str = Field(sa_column=Column(CleanText, nullable=False))
    tenant: str = Field(sa_column=Column(IdText, nullable=False))
    document_id: str | None = Field(sa_column=Column(IdText))
    revision: int | None = Field(sa_column=Column(StreamSequence))
    reason: str = Field(sa_column=Column(CleanText, nullable=False))
    code: str = Field(sa_column=Column(CleanText, nullable=False))
    field: str | None = Field(sa_column=Column(CleanText))
    error: str = Field(sa_column=Column(CleanText, nullable=False))
    headers: dict[str, str] = Field(sa_column=Column(CleanJSON, nullable=False))
    payload: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    object_name: str | None = Field(sa_column=Column(CleanText))
    deliveries: int = Field(sa_column=Column(Integer, nullable=False))
    traceparent: str | None = Field(sa_column=Column(CleanText))
    created_at: datetime = Field(sa_column=Column(UTCDateTime, nullable=False))


class ConversationRow(Base, table=True):
    """A conversation; the times are of its first question and of its last answer."""

    __tablename__ = "conversations"
    __table_args__ = (
        # Pages of a tenant, and those that nobody has used for long.
        Index(None, "tenant", "updated_at", "conversation_id"),
        Index(None, "updated_at"),
        {"sqlite_with_rowid": False},
    )

    tenant: str = Field(sa_column=Column(IdText, primary_key=True))
    conversation_id: str = Field(sa_column=Column(IdText, primary_key=True))
    title: str = Field(sa_column=Column(CleanText, nullable=False))
    turn_count: int = Field(sa_column=Column(Integer, nullable=False))
    created_at: datetime = Field(sa_column=Column(UTCDateTime, nullable=False))
    updated_at: datetime = Field(sa_column=Column(UTCDateTime, nullable=False))


class ConversationTurnRow(Base, table=True):
    """A turn of a conversation; `version` tells which of two answers to the same question is the later one."""

    __tablename__ = "conversation_turns"
    __table_args__ = (Index(None, "tenant", "conversation_id", "asked_at", "query_id"),)

    tenant: str = Field(sa_column=Column(IdText, primary_key=True))
    conversation_id: str = Field(sa_column=Column(IdText, primary_key=True))
    query_id: str = Field(sa_column=Column(IdText, primary_key=True))
    version: int = Field(sa_column=Column(StreamSequence, nullable=False))
    question: str = Field(sa_column=Column(CleanText, nullable=False))
    stand_alone: str | None = Field(sa_column=Column(CleanText))
    answer: str = Field(sa_column=Column(CleanText, nullable=False))
    answered: bool = Field(sa_column=Column(Boolean, nullable=False))
    citations: list[dict[str, Any]] = Field(sa_column=Column(CleanJSON, nullable=False))
    shortened: bool = Field(sa_column=Column(Boolean, nullable=False))
    trace_id: str | None = Field(sa_column=Column(IdText))
    asked_at: datetime = Field(sa_column=Column(UTCDateTime, nullable=False))
    answered_at: datetime = Field(sa_column=Column(UTCDateTime, nullable=False))


class DeletedConversationRow(Base, table=True):
    """A conversation that was deleted: no turn of it is kept any more, however late it comes."""

    __tablename__ = "deleted_conversations"
    __table_args__ = (Index(None, "created_at"), {"sqlite_with_rowid": False})

    tenant: str = Field(sa_column=Column(IdText, primary_key=True))
    conversation_id: str = Field(sa_column=Column(IdText, primary_key=True))
    created_at: datetime = Field(sa_column=Column(UTCDateTime, nullable=False))


class QueryRow(Base, table=True):
    """A question that was answered or failed, so that feedback may be given to it; no text of it."""

    __tablename__ = "queries"
    __table_args__ = (Index(None, "created_at"), {"sqlite_with_rowid": False})

    tenant: str = Field(sa_column=Column(IdText, primary_key=True))
    query_id: str = Field(sa_column=Column(IdText, primary_key=True))
    trace_id: str | None = Field(sa_column=Column(IdText))
    conversation_id: str | None = Field(sa_column=Column(IdText))
    created_at: datetime = Field(sa_column=Column(UTCDateTime, nullable=False))


class FeedbackRow(Base, table=True):
    """What somebody thought of an answer last; `created_at` is when they said so."""

    __tablename__ = "feedback"
    __table_args__ = (Index(None, "created_at"), Index(None, "tenant", "conversation_id"))

    tenant: str = Field(sa_column=Column(IdText, primary_key=True))
    query_id: str = Field(sa_column=Column(IdText, primary_key=True))
    rating: str = Field(sa_column=Column(IdText, nullable=False))
    comment: str | None = Field(sa_column=Column(CleanText))
    trace_id: str | None = Field(sa_column=Column(IdText))
    conversation_id: str | None = Field(sa_column=Column(IdText))
    created_at: datetime = Field(sa_column=Column(UTCDateTime, nullable=False))


class ApiKeyRow(Base, table=True):
    """A key by which somebody calls; `digest` is its keyed hash, `version` the place of its last change among all."""

    __tablename__ = "api_keys"
    __table_args__ = (
        Index(None, "version", unique=True),
        Index(None, "created_at", "key_id"),
        Index(None, "tenant", "created_at", "key_id"),
    )

    key_id: str = Field(sa_column=Column(IdText, primary_key=True))
    prefix: str = Field(sa_column=Column(IdText, nullable=False))
    tenant: str = Field(sa_column=Column(IdText, nullable=False))
    name: str | None = Field(sa_column=Column(CleanText))
    scopes: list[str] = Field(sa_column=Column(CleanJSON, nullable=False))
    digest: str = Field(sa_column=Column(IdText, nullable=False))
    version: int = Field(sa_column=Column(StreamSequence, nullable=False))
    created_at: datetime = Field(sa_column=Column(UTCDateTime, nullable=False))
    created_by: str | None = Field(sa_column=Column(IdText))
    expires_at: datetime | None = Field(sa_column=Column(UTCDateTime))
    revoked_at: datetime | None = Field(sa_column=Column(UTCDateTime))


class AuditRow(Base, table=True):
    """Something that somebody did; `created_at` is when."""

    __tablename__ = "audit"
    __table_args__ = (Index(None, "tenant", "created_at", "audit_id"), Index(None, "created_at"))

    tenant: str = Field(sa_column=Column(IdText, primary_key=True))
    audit_id: str = Field(sa_column=Column(IdText, primary_key=True))
    action: str = Field(sa_column=Column(IdText, nullable=False))
    actor: str | None = Field(sa_column=Column(IdText))
    method: str | None = Field(sa_column=Column(IdText))
    route: str | None = Field(sa_column=Column(CleanText))
    target: dict[str, str] = Field(sa_column=Column(CleanJSON, nullable=False))
    status: int | None = Field(sa_column=Column(Integer))
    reason: str | None = Field(sa_column=Column(CleanText))
    address: str | None = Field(sa_column=Column(CleanText))
    trace_id: str | None = Field(sa_column=Column(IdText))
    created_at: datetime = Field(sa_column=Column(UTCDateTime, nullable=False))


DOCUMENTS: Table = Base.metadata.tables["documents"]
INDEXED_BATCHES: Table = Base.metadata.tables["indexed_batches"]
COLLECTION_DELETES: Table = Base.metadata.tables["collection_deletes"]
LEASES: Table = Base.metadata.tables["leases"]
IDEMPOTENCY_KEYS: Table = Base.metadata.tables["idempotency_keys"]
DEAD_LETTERS: Table = Base.metadata.tables["dead_letters"]
CONVERSATIONS: Table = Base.metadata.tables["conversations"]
CONVERSATION_TURNS: Table = Base.metadata.tables["conversation_turns"]
DELETED_CONVERSATIONS: Table = Base.metadata.tables["deleted_conversations"]
QUERIES: Table = Base.metadata.tables["queries"]
FEEDBACK: Table = Base.metadata.tables["feedback"]
API_KEYS: Table = Base.metadata.tables["api_keys"]
AUDIT: Table = Base.metadata.tables["audit"]
