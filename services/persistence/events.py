"""What can happen to a document; every event names its revision, the place of its message in the INGEST stream."""

from dataclasses import dataclass, field
from datetime import datetime

from contracts.documents import Metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to one revision of one document; `at` is when we learned of it."""

    tenant: str
    document_id: str
    revision: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UpsertAccepted(Event):
    """Intake saw a document to index; `size_bytes` is what is known of its size, 0 for nothing."""

    collection: str
    title: str | None = None
    uri: str | None = None
    metadata: Metadata = field(default_factory=dict)
    size_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteAccepted(Event):
    """Intake saw a delete, and the index hides every revision before it."""

    collection: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(Event):
    """The message of this revision will never be worked on; of the document it may not even name the collection."""

    code: str
    message: str
    collection: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed(Event):
    """The text is cut into `chunks` chunks in `batches` batches, numbered from 0; `size_bytes` 0 is a size not told."""

    batches: int
    chunks: int
    title: str | None = None
    size_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchIndexed(Event):
    """One batch of chunks is in the index."""

    batch: int
    chunks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Event):
    """Work on this revision ended in a dead letter."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PointsLost(Event):
    """Of a revision that the index showed complete only `found` chunks are left there."""

    found: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionDeleted:
    """Every document that is in a collection as of `revision` is to go."""

    tenant: str
    collection: str
    revision: int
    at: datetime


MessageEvent = UpsertAccepted | DeleteAccepted | Refused
ReportEvent = Parsed | BatchIndexed | Failed
DocumentEvent = MessageEvent | ReportEvent | PointsLost
