"""What becomes of a document as events about its revisions arrive: late, twice, in any order.

    accepted ──► processing ──► indexed     every batch is there, whatever else was said before or is said after
        └────────────┴────────► failed      an error, and not every batch; when a replay brings the rest: indexed
    indexed ──────────────────────► failed  the index lost some of its points, and nothing stored can bring them back
    deleted                                 final for its revision

The highest revision that intake saw is the present one. What is heard of a later revision waits in `ahead` until
intake has seen that too, and outdates every message before it but a delete; an earlier revision that still reaches
the index is answered with `superseded`, unless it is the one that the index shows.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, assert_never

from contracts.reads import DocumentError
from services.persistence.announcements import Announcement, accepted, deleted, outcome, superseded
from services.persistence.document import Document, Progress
from services.persistence.events import (
    BatchIndexed,
    DeleteAccepted,
    DocumentEvent,
    Event,
    Failed,
    MessageEvent,
    Parsed,
    PointsLost,
    Refused,
    ReportEvent,
    UpsertAccepted,
)

INDEX_INCOMPLETE: Final = "index_incomplete"


@dataclass(frozen=True, slots=True)
class Transition:
    """The state after an event, and the facts that follow from it; a repeated event gives the same facts again."""

    state: Document
    effects: tuple[Announcement, ...] = ()


def apply(state: Document | None, event: DocumentEvent) -> Transition:
    """Return what an event makes of a document, which is None when nothing was ever heard of it."""
    before = state or Document(event.tenant, event.document_id, created_at=event.at, updated_at=event.at)
    if isinstance(event, UpsertAccepted | DeleteAccepted | Refused):
        transition = _on_message(before, event)
    elif isinstance(event, PointsLost):
        transition = _on_loss(before, event)
    else:
        transition = _on_report(before, event)
    after = _stamped(before, transition.state, event)
    return Transition(after, (*_left_behind(before, after), *transition.effects))


def _on_message(state: Document, event: MessageEvent) -> Transition:
    """The message of a revision decides what is present."""
    if isinstance(event, DeleteAccepted):
        return _outrun(state, event) if event.revision < state.revision else _deleted(state, event)
    if event.revision < (state.ahead or state.progress).revision:
        # What was heard of it may have been given up for the later one already, and its points told to go.
        return Transition(state)
    claimed = _claimed(state, event)
    if claimed.deleted:
        return Transition(claimed)
    if isinstance(event, Refused):
        progress = _with_error(claimed.progress, event)
        after = _settled(replace(claimed, progress=progress, collection=event.collection or claimed.collection))
        return Transition(after, outcome(after))
    after = _settled(_described(claimed, event))
    return Transition(after, (accepted(after, "upsert"), *outcome(after)))


def _on_report(state: Document, event: ReportEvent) -> Transition:
    """A report on a revision counts for the present one, is kept for the latest one, and is outdated otherwise."""
    if event.revision == state.revision and not state.deleted:
        after = _settled(replace(state, progress=_advanced(state.progress, event)))
        says_so = isinstance(event, Failed) == (after.status == "failed")
        return Transition(after, outcome(after) if says_so else ())
    latest = state.ahead.revision if state.ahead else state.revision + 1
    if event.revision >= latest:
        ahead = state.ahead if state.ahead and event.revision == latest else Progress(event.revision)
        return Transition(replace(state, ahead=_advanced(ahead, event)))
    return Transition(state, _outdated(state, event))


def _on_loss(state: Document, event: PointsLost) -> Transition:
    """What is left stays searchable; the revision is no longer complete, and only its producer can make it so again."""
    if event.revision != state.visible_revision:
        return Transition(state)
    left = (
        replace(state, visible_revision=event.revision, visible_chunks=event.found) if event.found else _hidden(state)
    )
    if event.revision != state.revision:
        return Transition(left)
    error = DocumentError(
        code=INDEX_INCOMPLETE,
        message=f"{event.found} of {state.progress.chunks} chunks are left in the index; send the document again",
    )
    progress = replace(state.progress, done=frozenset(), chunks_indexed=event.found, error=error)
    after = replace(left, progress=progress)
    return Transition(after, outcome(after))


def _claimed(state: Document, event: MessageEvent) -> Document:
    """Make the event's revision the present one, with what was heard of it ahead of its message."""
    if event.revision == state.revision:
        return state
    ahead = state.ahead
    known = ahead is not None and ahead.revision == event.revision
    return replace(
        state,
        progress=ahead if ahead is not None and known else Progress(event.revision),
        ahead=ahead if ahead is not None and ahead.revision > event.revision else None,
        deleted=False,
        created_at=event.at if state.deleted or state.revision == 0 else state.created_at,
    )


def _described(state: Document, event: UpsertAccepted) -> Document:
    # What the parser found counts more than what was said before it looked.
    size_bytes = state.progress.size_bytes or event.size_bytes
    return replace(
        state,
        progress=replace(state.progress, size_bytes=size_bytes),
        collection=event.collection,
        title=event.title or state.progress.title,
        uri=event.uri,
        metadata=event.metadata,
    )


def _deleted(state: Document, event: DeleteAccepted) -> Transition:
    """Keep nothing of a deleted document but its id, its collection and the revision that it is gone as of."""
    claimed = _claimed(state, event)
    after = replace(
        _hidden(claimed),
        progress=Progress(event.revision),
        deleted=True,
        collection=event.collection if state.revision == 0 else state.collection,
        title=None,
        uri=None,
        metadata={},
    )
    return Transition(after, (accepted(after, "delete"), deleted(after, event.revision)))


def _outrun(state: Document, event: DeleteAccepted) -> Transition:
    """A delete that comes after a later write still ends what the index shows from before it."""
    shown = state.visible_revision > event.revision
    return Transition(state if shown else _hidden(state), (deleted(state, event.revision),))


def _hidden(state: Document) -> Document:
    return replace(state, visible_revision=0, visible_chunks=0, visible_bytes=0)


def _advanced(progress: Progress, event: ReportEvent) -> Progress:
    """Count a report once; nothing takes a complete revision back."""
    match event:
        case Parsed():
            after = progress if progress.batches else _parsed(progress, event)
        case BatchIndexed():
            after = progress if event.batch in progress.done else _with_batch(progress, event)
        case Failed():
            after = _with_error(progress, event)
        case _:
            assert_never(event)
    return replace(after, error=None) if after.complete else after


def _parsed(progress: Progress, event: Parsed) -> Progress:
    size_bytes = event.size_bytes or progress.size_bytes
    return replace(progress, batches=event.batches, chunks=event.chunks, title=event.title, size_bytes=size_bytes)


def _with_batch(progress: Progress, event: BatchIndexed) -> Progress:
    done = progress.done | {event.batch}
    return replace(progress, done=done, chunks_indexed=progress.chunks_indexed + event.chunks)


def _with_error(progress: Progress, event: Failed | Refused) -> Progress:
    if progress.complete or progress.error is not None:
        return progress
    return replace(progress, error=DocumentError(code=event.code, message=event.message))


def _settled(state: Document) -> Document:
    """Let a complete revision be the one that the index shows."""
    progress = state.progress
    titled = replace(state, title=state.title or progress.title)
    if not progress.complete:
        return titled
    return replace(
        titled,
        visible_revision=progress.revision,
        visible_chunks=progress.chunks_indexed,
        visible_bytes=progress.size_bytes,
    )


def _stamped(before: Document, after: Document, event: Event) -> Document:
    """Readers see a time of change only for what they can see change."""
    unchanged = replace(after, ahead=before.ahead) == before
    return after if unchanged else replace(after, updated_at=event.at)


def _outdated(state: Document, event: ReportEvent) -> tuple[Announcement, ...]:
    """Answer what may have brought points of an outdated revision into the index."""
    if isinstance(event, Failed) or event.revision == state.visible_revision:
        return ()
    # Each batch brings points of its own, so each needs a fact that is not taken for a repeat of another one's.
    part = event.batch if isinstance(event, BatchIndexed) else None
    return (superseded(state, event.revision, part),)


def _left_behind(before: Document, after: Document) -> Iterator[Announcement]:
    """Give up a revision that was under way when a later one came, and whose points are in nobody's way but useless.

    The one effect that a repeated event does not give again: what a crash keeps from being published here goes with
    the next revision that is indexed.
    """
    if after.deleted:
        return
    kept = {before.visible_revision, after.revision, after.ahead.revision if after.ahead else 0}
    for progress in (before.progress, before.ahead):
        if progress is not None and progress.done and progress.revision not in kept:
            yield superseded(after, progress.revision)
