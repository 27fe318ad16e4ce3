"""Histories of a document: what happened to its revisions, as events in any order."""

from dataclasses import dataclass
from datetime import UTC, datetime

from hypothesis import strategies as st

from services.persistence.document import Document
from services.persistence.events import (
    BatchIndexed,
    DeleteAccepted,
    DocumentEvent,
    Failed,
    Parsed,
    Refused,
    UpsertAccepted,
)

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
CHUNKS_PER_BATCH = 10
# What the parser finds a revision to be, whatever was said of it: this many bytes times its number.
SIZE_OF_REVISION = 1_000


@dataclass(frozen=True)
class About:
    """Makes events about one revision of one document."""

    revision: int
    document_id: str = "handbook-7"
    tenant: str = "acme"
    at: datetime = AT

    @property
    def _fields(self) -> dict[str, object]:
        return {"tenant": self.tenant, "document_id": self.document_id, "revision": self.revision, "at": self.at}

    def accepted(self, collection: str = "default", **fields: object) -> UpsertAccepted:
        return UpsertAccepted(**self._fields, collection=collection, **fields)  # type: ignore[arg-type]

    def delete(self, collection: str = "default") -> DeleteAccepted:
        return DeleteAccepted(**self._fields, collection=collection)  # type: ignore[arg-type]

    def refused(self, message: str = "text: is wrong") -> Refused:
        return Refused(**self._fields, code="invalid_message", message=message)  # type: ignore[arg-type]

    def parsed(self, batches: int, title: str | None = None, size_bytes: int = 0) -> Parsed:
        told = {"batches": batches, "chunks": batches * CHUNKS_PER_BATCH, "title": title, "size_bytes": size_bytes}
        return Parsed(**self._fields, **told)  # type: ignore[arg-type]

    def batch(self, number: int) -> BatchIndexed:
        return BatchIndexed(**self._fields, batch=number, chunks=CHUNKS_PER_BATCH)  # type: ignore[arg-type]

    def failed(self, code: str = "corrupt", message: str = "cannot be read") -> Failed:
        return Failed(**self._fields, code=code, message=message)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Revision:
    """One revision: its events, and what becomes of the document when it is the last one."""

    number: int
    events: tuple[DocumentEvent, ...]
    status: str

    @property
    def complete(self) -> bool:
        return self.status == "indexed"


def indexed(number: int, batches: int = 1) -> Revision:
    about = About(number)
    reports = tuple(about.batch(batch) for batch in range(batches))
    said, size_bytes = about.accepted(size_bytes=1), SIZE_OF_REVISION * number
    return Revision(number, (said, about.parsed(batches, size_bytes=size_bytes), *reports), "indexed")


def replayed(number: int) -> Revision:
    """A revision that failed on the way and was brought to its end by a replay."""
    whole = indexed(number, batches=2)
    return Revision(number, (*whole.events, About(number).failed()), "indexed")


def stuck(number: int, batches: int = 2) -> Revision:
    """A revision of which one batch never comes."""
    whole = indexed(number, batches)
    return Revision(number, whole.events[:-1], "processing")


def failed(number: int) -> Revision:
    halfway = stuck(number)
    return Revision(number, (*halfway.events, About(number).failed(), About(number).failed("other")), "failed")


def unreadable(number: int) -> Revision:
    return Revision(number, (About(number).accepted(), About(number).failed()), "failed")


def refused(number: int) -> Revision:
    return Revision(number, (About(number).refused(),), "failed")


def deleted(number: int) -> Revision:
    return Revision(number, (About(number).delete(),), "deleted")


def dead_delete(number: int) -> Revision:
    """A delete that one consumer refused and intake carried out."""
    return Revision(number, (About(number).refused(), About(number).delete()), "deleted")


KINDS = (indexed, replayed, stuck, failed, unreadable, refused, deleted, dead_delete)


@dataclass(frozen=True)
class History:
    """Revisions of one document, and their events as they arrive: in some order, some of them twice."""

    revisions: tuple[Revision, ...]
    arrivals: tuple[DocumentEvent, ...]

    @property
    def last(self) -> Revision:
        return self.revisions[-1]


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Draw one to four revisions with gaps between their numbers, and any order of their events."""
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4))
    revisions = tuple(kind(3 + 2 * place) for place, kind in enumerate(kinds))
    events = [event for revision in revisions for event in revision.events]
    repeats = draw(st.lists(st.sampled_from(events), max_size=6))
    return History(revisions, tuple(draw(st.permutations(events + repeats))))


def known(state: Document | None) -> Document:
    assert state is not None
    return state
