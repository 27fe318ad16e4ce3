"""Whatever the order, and however often an event comes, a document ends the same."""

from collections.abc import Iterator, Sequence

from hypothesis import given, settings

from contracts.facts import DocumentSuperseded
from services.persistence.document import Document
from services.persistence.events import BatchIndexed, DeleteAccepted, DocumentEvent, Parsed, UpsertAccepted
from services.persistence.lifecycle import Transition, apply
from tests.unit.persistence.histories import SIZE_OF_REVISION, History, histories

EXAMPLES = 150


def steps(arrivals: Sequence[DocumentEvent]) -> Iterator[tuple[Document | None, DocumentEvent, Transition]]:
    state: Document | None = None
    for event in arrivals:
        transition = apply(state, event)
        yield state, event, transition
        state = transition.state


def final(arrivals: Sequence[DocumentEvent]) -> Document:
    *_, (_, _, transition) = steps(arrivals)
    return transition.state


@given(histories())
@settings(max_examples=EXAMPLES, deadline=None)
def test_any_order_of_events_ends_in_the_state_of_the_last_revision(history: History) -> None:
    """INVARIANT: effects happen once and the later write wins. Counting a batch per arrival, or letting the arrival
    decide instead of the revision, would break it.
    """
    document = final(history.arrivals)
    assert (document.revision, document.status) == (history.last.number, history.last.status)
    if history.last.status == "indexed":
        assert document.visible_revision == history.last.number
        assert document.visible_chunks == document.progress.chunks
    # A size that depends on what arrived first would let a producer's word stand against the parser's.
    assert document.visible_bytes == SIZE_OF_REVISION * document.visible_revision
    if history.last.status == "deleted":
        assert (document.visible_revision, document.visible_chunks) == (0, 0)
        assert (document.title, document.uri, document.metadata) == (None, None, {})


@given(histories())
@settings(max_examples=EXAMPLES, deadline=None)
def test_a_repetition_of_the_whole_history_changes_nothing(history: History) -> None:
    """INVARIANT: any message may come twice, however late."""
    assert final(history.arrivals + history.arrivals) == final(history.arrivals)


@given(histories())
@settings(max_examples=EXAMPLES, deadline=None)
def test_indexed_is_never_shown_before_every_batch_of_that_revision_was_reported(history: History) -> None:
    """INVARIANT: indexed means that the message, the number of batches and every batch were seen."""
    seen: list[DocumentEvent] = []
    for _, event, transition in steps(history.arrivals):
        seen.append(event)
        shown = transition.state.visible_revision
        if shown:
            assert _is_whole(shown, seen)
        if transition.state.status == "indexed":
            assert shown == transition.state.revision


@given(histories())
@settings(max_examples=EXAMPLES, deadline=None)
def test_a_delete_is_final_for_its_revision_and_all_before(history: History) -> None:
    """INVARIANT: deleted is gone. A late batch that made an old revision visible again would break it."""
    gone = 0
    for _, event, transition in steps(history.arrivals):
        if isinstance(event, DeleteAccepted):
            gone = max(gone, event.revision)
        document = transition.state
        assert document.visible_revision == 0 or document.visible_revision > gone
        assert document.status == "deleted" or document.revision > gone or gone == 0


@given(histories())
@settings(max_examples=EXAMPLES, deadline=None)
def test_what_reaches_the_index_too_late_is_always_told_to_leave_it(history: History) -> None:
    """INVARIANT: no points of an outdated revision stay, and those that the index shows are never told to go."""
    for before, event, transition in steps(history.arrivals):
        told = {
            (announcement.fact.revision, announcement.part)
            for announcement in transition.effects
            if isinstance(announcement.fact, DocumentSuperseded)
        }
        document = transition.state
        assert document.visible_revision not in {revision for revision, _ in told}
        outdated = event.revision < document.revision or (document.deleted and event.revision == document.revision)
        shown = before is not None and event.revision == before.visible_revision
        if isinstance(event, BatchIndexed) and outdated and not shown:
            assert (event.revision, event.batch) in told


@given(histories())
@settings(max_examples=EXAMPLES, deadline=None)
def test_a_failed_update_leaves_a_good_revision_visible_or_none(history: History) -> None:
    """INVARIANT: what fails takes nothing away; only a delete and a later complete revision do."""
    complete = {revision.number for revision in history.revisions if revision.complete}
    shown = 0
    for before, event, transition in steps(history.arrivals):
        document = transition.state
        if document.visible_revision != shown and not isinstance(event, DeleteAccepted):
            assert document.visible_revision in complete
            assert document.visible_revision > shown
        shown = document.visible_revision
        assert before is None or document.revision >= before.revision


def _is_whole(revision: int, seen: Sequence[DocumentEvent]) -> bool:
    mine = [event for event in seen if event.revision == revision]
    parsed = [event for event in mine if isinstance(event, Parsed)]
    batches = {event.batch for event in mine if isinstance(event, BatchIndexed)}
    accepted = any(isinstance(event, UpsertAccepted) for event in mine)
    return accepted and bool(parsed) and batches == set(range(parsed[0].batches))
