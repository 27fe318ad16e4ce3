"""What single events make of a document."""

from dataclasses import replace
from datetime import timedelta

import pytest

from contracts.facts import (
    DocumentAccepted,
    DocumentDeleted,
    DocumentFact,
    DocumentFailed,
    DocumentIndexed,
    DocumentSuperseded,
)
from contracts.reads import DocumentError
from services.persistence.document import Document
from services.persistence.events import DocumentEvent, PointsLost
from services.persistence.lifecycle import apply
from tests.unit.persistence.histories import AT, About, known

FIRST, SECOND, THIRD = About(3), About(5), About(7)


def after(*events: DocumentEvent, state: Document | None = None) -> Document:
    for event in events:
        state = apply(state, event).state
    return known(state)


def facts(state: Document | None, event: DocumentEvent) -> list[DocumentFact]:
    return [announcement.fact for announcement in apply(state, event).effects]


def kinds(state: Document | None, event: DocumentEvent) -> list[type[DocumentFact]]:
    return [type(fact) for fact in facts(state, event)]


INDEXED = (FIRST.accepted(title="Handbook"), FIRST.parsed(2), FIRST.batch(0), FIRST.batch(1))


def test_a_document_goes_from_accepted_over_processing_to_indexed() -> None:
    statuses = [after(*INDEXED[: length + 1]).status for length in range(len(INDEXED))]
    assert statuses == ["accepted", "processing", "processing", "indexed"]


def test_every_step_that_others_wait_for_is_announced() -> None:
    assert kinds(None, INDEXED[0]) == [DocumentAccepted]
    [fact] = facts(after(*INDEXED[:-1]), INDEXED[-1])
    assert isinstance(fact, DocumentIndexed)
    assert (fact.revision, fact.chunks, fact.collection) == (3, 20, "default")


def test_a_batch_that_is_reported_twice_counts_once() -> None:
    document = after(FIRST.accepted(), FIRST.parsed(2), FIRST.batch(0), FIRST.batch(0))
    assert (document.status, document.progress.chunks_indexed) == ("processing", 10)


def test_the_completing_event_announces_indexed_again_when_it_is_repeated() -> None:
    """A crash between commit and publish leaves the fact unsaid; only the repeat can say it."""
    assert kinds(after(*INDEXED), INDEXED[-1]) == [DocumentIndexed]


def test_the_message_that_completes_a_document_announces_indexed_again_when_it_is_repeated() -> None:
    document = after(FIRST.parsed(1), FIRST.batch(0), FIRST.accepted())
    assert kinds(document, FIRST.accepted()) == [DocumentAccepted, DocumentIndexed]


def test_a_document_stays_hidden_until_intake_has_seen_it() -> None:
    document = after(FIRST.parsed(1), FIRST.batch(0))
    assert (document.status, document.visible_revision) == (None, 0)
    assert kinds(document, FIRST.accepted()) == [DocumentAccepted, DocumentIndexed]
    assert after(FIRST.accepted(), state=document).status == "indexed"


def test_reports_on_an_update_change_nothing_that_readers_see_before_intake_has_seen_the_update() -> None:
    before = after(*INDEXED)
    later = replace(SECOND, at=AT + timedelta(hours=1))
    overtaken = after(later.parsed(1), state=before)
    assert replace(overtaken, ahead=None) == before
    assert after(SECOND.accepted(), SECOND.batch(0), state=overtaken).visible_revision == 5


def test_an_update_keeps_the_old_revision_visible_until_it_is_complete() -> None:
    document = after(*INDEXED, SECOND.accepted(), SECOND.parsed(2), SECOND.batch(0))
    assert (document.status, document.revision, document.visible_revision) == ("processing", 5, 3)
    assert (document.progress.chunks, document.progress.chunks_indexed) == (20, 10)
    assert after(SECOND.batch(1), state=document).visible_revision == 5


def test_a_failed_update_keeps_the_last_good_revision_visible() -> None:
    document = after(*INDEXED, SECOND.accepted(), SECOND.failed())
    assert (document.status, document.visible_revision, document.visible_chunks) == ("failed", 3, 20)
    assert document.progress.error == DocumentError(code="corrupt", message="cannot be read")


def test_a_failure_after_the_last_batch_is_ignored() -> None:
    assert after(*INDEXED, FIRST.failed()) == after(*INDEXED)
    assert kinds(after(*INDEXED), FIRST.failed()) == []


def test_a_failed_document_becomes_indexed_when_a_replay_brings_the_rest() -> None:
    document = after(*INDEXED[:-1], FIRST.failed())
    assert document.status == "failed"
    replayed = after(INDEXED[-1], state=document)
    assert (replayed.status, replayed.progress.error, replayed.visible_revision) == ("indexed", None, 3)


def test_the_first_of_two_failures_is_the_one_that_is_told() -> None:
    document = after(FIRST.accepted(), FIRST.failed(code="corrupt"))
    [fact] = facts(document, FIRST.failed(code="later"))
    assert isinstance(fact, DocumentFailed)
    assert fact.code == "corrupt"


@pytest.mark.parametrize(
    ("late", "part"),
    [(FIRST.batch(4), 4), (FIRST.parsed(5), None)],
    ids=["a batch, told apart from the others", "the number of batches"],
)
def test_a_late_report_on_an_outdated_revision_is_answered_with_superseded(
    late: DocumentEvent, part: int | None
) -> None:
    document = after(FIRST.accepted(), SECOND.accepted())
    transition = apply(document, late)
    [announcement] = transition.effects
    assert transition.state == document
    assert isinstance(announcement.fact, DocumentSuperseded)
    assert (announcement.fact.revision, announcement.fact.current_revision) == (3, 5)
    assert announcement.part == part


def test_a_late_report_on_the_revision_that_is_shown_takes_nothing_away() -> None:
    """Superseded would remove the very points that an update in progress, or a failed one, still leaves visible."""
    assert kinds(after(*INDEXED, SECOND.accepted()), INDEXED[-1]) == []


def test_a_revision_that_was_under_way_is_given_up_for_the_next() -> None:
    under_way = after(FIRST.accepted(), FIRST.batch(0))
    assert kinds(under_way, SECOND.accepted()) == [DocumentSuperseded, DocumentAccepted]
    assert kinds(after(FIRST.batch(0)), SECOND.parsed(1)) == [DocumentSuperseded]


def test_a_report_between_the_present_revision_and_a_later_one_is_outdated() -> None:
    document = after(FIRST.accepted(), THIRD.parsed(1))
    [fact] = facts(document, SECOND.batch(0))
    assert isinstance(fact, DocumentSuperseded)
    assert (fact.revision, fact.current_revision) == (5, 7)


def test_a_revision_that_was_given_up_before_its_message_was_seen_never_becomes_visible() -> None:
    """Its points were told to go; counted again by late repeats, it would be visible without them."""
    reports = (SECOND.parsed(1), SECOND.batch(0))
    document = after(*INDEXED, *reports, THIRD.parsed(1), SECOND.accepted(), *reports)
    assert (document.revision, document.visible_revision) == (3, 3)
    assert after(THIRD.accepted(), THIRD.failed(), state=document).visible_revision == 3


def test_a_delete_clears_what_is_known_of_the_document() -> None:
    document = after(FIRST.accepted("manuals", title="T", uri="u", metadata={"team": "infra"}), SECOND.delete())
    assert (document.status, document.collection) == ("deleted", "manuals")
    assert (document.title, document.uri, document.metadata) == (None, None, {})
    assert (document.progress.chunks, document.progress.chunks_indexed) == (0, 0)


def test_a_delete_is_announced_however_often_it_comes() -> None:
    document = after(*INDEXED)
    assert kinds(document, SECOND.delete()) == [DocumentAccepted, DocumentDeleted]
    assert kinds(after(SECOND.delete(), state=document), SECOND.delete()) == [DocumentAccepted, DocumentDeleted]


@pytest.mark.parametrize("late", [FIRST.batch(0), SECOND.batch(0)], ids=["before the delete", "of the delete itself"])
def test_points_that_arrive_after_a_delete_are_told_to_go(late: DocumentEvent) -> None:
    assert kinds(after(FIRST.accepted(), SECOND.delete()), late) == [DocumentSuperseded]


def test_a_delete_that_a_later_write_outran_still_ends_what_was_visible_before_it() -> None:
    document = after(*INDEXED, THIRD.accepted())
    assert document.visible_revision == 3
    [fact] = facts(document, SECOND.delete())
    assert isinstance(fact, DocumentDeleted)
    assert fact.revision == 5
    outrun = after(SECOND.delete(), state=document)
    assert (outrun.status, outrun.revision, outrun.visible_revision) == ("accepted", 7, 0)
    assert kinds(outrun, FIRST.batch(0)) == [DocumentSuperseded]


def test_a_refusal_of_a_delete_that_was_carried_out_changes_nothing() -> None:
    document = after(FIRST.accepted(), SECOND.delete())
    assert after(SECOND.refused(), state=document) == document
    assert kinds(document, SECOND.refused()) == []
    assert after(FIRST.accepted(), SECOND.refused(), SECOND.delete()) == document


def test_a_second_count_of_batches_does_not_take_an_indexed_document_back() -> None:
    assert after(*INDEXED, FIRST.parsed(3)) == after(*INDEXED)


def test_a_document_that_comes_back_after_its_delete_is_a_new_one() -> None:
    later = AT + timedelta(days=1)
    document = after(FIRST.accepted(title="old"), SECOND.delete(), replace(THIRD, at=later).accepted())
    assert (document.status, document.title, document.created_at) == ("accepted", None, later)


def test_a_message_that_breaks_the_schema_leaves_the_old_description_and_shows_the_failure() -> None:
    document = after(*INDEXED, SECOND.refused("text: is wrong"))
    assert (document.status, document.revision, document.title) == ("failed", 5, "Handbook")
    assert document.visible_revision == 3
    assert kinds(after(*INDEXED), SECOND.refused()) == [DocumentFailed]


def test_the_title_that_was_extracted_is_used_where_the_producer_gave_none() -> None:
    assert after(FIRST.accepted(title=None), FIRST.parsed(1, title="Found")).title == "Found"
    assert after(FIRST.parsed(1, title="Found"), FIRST.accepted(title=None)).title == "Found"
    assert after(FIRST.accepted(title="Given"), FIRST.parsed(1, title="Found")).title == "Given"


def test_the_time_of_change_moves_only_when_something_changes() -> None:
    later = replace(FIRST, at=AT + timedelta(hours=1))
    assert after(*INDEXED, later.batch(1)).updated_at == AT
    assert after(*INDEXED[:-1], later.batch(1)).updated_at == AT + timedelta(hours=1)
    assert after(*INDEXED[:-1], later.batch(1)).created_at == AT


def lost(revision: int, found: int) -> PointsLost:
    return PointsLost(tenant="acme", document_id="handbook-7", revision=revision, at=AT, found=found)


def test_a_document_that_lost_points_has_failed_and_keeps_what_is_left() -> None:
    document = after(*INDEXED, lost(3, 5))
    assert (document.status, document.visible_revision, document.visible_chunks) == ("failed", 3, 5)
    assert document.progress.error == DocumentError(
        code="index_incomplete", message="5 of 20 chunks are left in the index; send the document again"
    )
    assert kinds(after(*INDEXED), lost(3, 5)) == [DocumentFailed]
    assert after(lost(3, 5), state=document) == document


def test_a_document_that_lost_every_point_is_not_shown_any_more() -> None:
    document = after(*INDEXED, lost(3, 0))
    assert (document.status, document.visible_revision, document.visible_chunks) == ("failed", 0, 0)


def test_a_loss_of_the_last_good_revision_leaves_the_failure_of_the_update() -> None:
    document = after(*INDEXED, SECOND.accepted(), SECOND.failed(), lost(3, 0))
    assert document.progress.error == DocumentError(code="corrupt", message="cannot be read")
    assert (document.revision, document.visible_revision, document.visible_chunks) == (5, 0, 0)


def test_a_loss_that_an_update_or_a_delete_has_overtaken_changes_nothing() -> None:
    for later in (SECOND.delete(),), (SECOND.accepted(), SECOND.parsed(1), SECOND.batch(0)):
        document = after(*INDEXED, *later)
        assert after(lost(3, 0), state=document) == document


def test_a_document_that_is_sent_again_after_a_loss_is_indexed_again() -> None:
    document = after(*INDEXED, lost(3, 5), SECOND.accepted(), SECOND.parsed(1), SECOND.batch(0))
    assert (document.status, document.visible_revision, document.progress.error) == ("indexed", 5, None)
