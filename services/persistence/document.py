"""The state of one document."""

from dataclasses import dataclass, field
from datetime import datetime

from contracts.documents import DEFAULT_COLLECTION, Metadata
from contracts.reads import DocumentError, DocumentStatus


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one revision has come.

    `batches` and `chunks` are 0 until it is parsed; `done` holds the numbers of the batches that are in the index,
    `chunks_indexed` counts their chunks; `error` stands until every batch is there. `size_bytes` is the size of what
    the document was sent as, 0 while that is not known.
    """

    revision: int
    batches: int = 0
    chunks: int = 0
    done: frozenset[int] = frozenset()
    chunks_indexed: int = 0
    title: str | None = None
    error: DocumentError | None = None
    size_bytes: int = 0

    @property
    def complete(self) -> bool:
        """Tell whether every batch is in the index."""
        return self.batches > 0 and self.done.issuperset(range(self.batches))

    @property
    def status(self) -> DocumentStatus:
        """Return what the events so far amount to, in whatever order they came."""
        if self.complete:
            return "indexed"
        if self.error is not None:
            return "failed"
        return "processing" if self.batches or self.done else "accepted"


@dataclass(frozen=True, slots=True)
class Document:
    """A document: its present revision, what is known of a later one, and which revision the index shows.

    The present revision is the highest one that intake has seen, 0 while there is none.
    """

    tenant: str
    document_id: str
    created_at: datetime
    updated_at: datetime
    progress: Progress = Progress(0)
    ahead: Progress | None = None
    deleted: bool = False
    collection: str = DEFAULT_COLLECTION
    title: str | None = None
    uri: str | None = None
    metadata: Metadata = field(default_factory=dict)
    visible_revision: int = 0
    visible_chunks: int = 0
    visible_bytes: int = 0

    @property
    def revision(self) -> int:
        """Return the present revision."""
        return self.progress.revision

    @property
    def status(self) -> DocumentStatus | None:
        """Return the status that readers see, None while the document is hidden from them."""
        if self.revision == 0:
            return None
        return "deleted" if self.deleted else self.progress.status
