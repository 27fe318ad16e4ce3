"""The verdict of a chaos run finds whatever is wrong: each kind is planted in an otherwise faultless observation."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.chaos.ledger import Ledger
from tests.chaos.observation import Letter, Observation, Point
from tests.chaos.plan import Ending
from tests.chaos.verdict import Wrong, count_by_fault, judge
from tests.unit.chaos.observations import (
    acknowledged,
    change_row,
    faultless,
    pick,
    pick_point,
    small_plan,
)

Damage = Callable[[Ledger, Observation], str]


def lose_a_document(ledger: Ledger, seen: Observation) -> str:
    name = pick(ledger, Ending.INDEXED)
    del seen.rows[name]
    seen.views[name] = {"status": "404"}
    seen.points = [point for point in seen.points if point.document_id != name]
    seen.searched[name] = set()
    return name


def lose_a_point(ledger: Ledger, seen: Observation) -> str:
    name = pick(ledger, Ending.INDEXED)
    seen.points.remove(pick_point(seen, name))
    return name


def double_a_point(ledger: Ledger, seen: Observation) -> str:
    name = pick(ledger, Ending.INDEXED)
    seen.points.append(pick_point(seen, name))
    return name


def leave_an_older_revision(ledger: Ledger, seen: Observation) -> str:
    name = pick(ledger, Ending.INDEXED)
    seen.points.append(replace(pick_point(seen, name), revision=10_000))
    return name


def leave_points_of_a_deleted_document(ledger: Ledger, seen: Observation) -> str:
    name = pick(ledger, Ending.DELETED)
    seen.points.append(Point(name, 1, 0, frozenset({(name, 1, 0)})))
    return name


def index_what_nobody_sent(ledger: Ledger, seen: Observation) -> str:
    seen.points.append(Point("stranger", 1, 0, frozenset()))
    return "stranger"


def index_a_chunk_too_many(ledger: Ledger, seen: Observation) -> str:
    name = pick(ledger, Ending.INDEXED)
    seen.points.append(replace(pick_point(seen, name), ordinal=99))
    return name


def list_what_nobody_sent(ledger: Ledger, seen: Observation) -> str:
    seen.listed.add("stranger")
    return "stranger"


def leave_it_processing(ledger: Ledger, seen: Observation) -> str:
    name = pick(ledger, Ending.INDEXED)
    change_row(seen, name, status="processing")
    seen.views[name] = {**seen.views[name], "status": "processing"}
    return name


def have_the_api_say_something_else(ledger: Ledger, seen: Observation) -> str:
    name = pick(ledger, Ending.DELETED)
    seen.views[name] = {**seen.views[name], "status": "indexed"}
    return name


def take_the_earlier_write(ledger: Ledger, seen: Observation) -> str:
    name = pick(ledger, Ending.DELETED)
    change_row(seen, name, revision=seen.rows[name].revision - 1)
    seen.views[name] = {**seen.views[name], "revision": seen.rows[name].revision}
    return name


def fail_with_another_code(ledger: Ledger, seen: Observation) -> str:
    name = pick(ledger, Ending.FAILED)
    seen.views[name] = {**seen.views[name], "error": {"code": "internal_error", "message": "…"}}
    return name


def wait_for_ever(ledger: Ledger, seen: Observation) -> str:
    name = pick(ledger, Ending.INDEXED)
    change_row(seen, name, waits=True)
    return name


def miscount(ledger: Ledger, seen: Observation) -> str:
    name = pick(ledger, Ending.INDEXED)
    change_row(seen, name, visible_chunks=0)
    return name


def keep_the_first_text(ledger: Ledger, seen: Observation) -> str:
    name = next(each for each, last in ledger.endings().items() if last.write.edition > 1)
    seen.points = [
        replace(point, lines=frozenset((of, 1, number) for of, _, number in point.lines))
        if point.document_id == name
        else point
        for point in seen.points
    ]
    return name


def show_a_deleted_document(ledger: Ledger, seen: Observation) -> str:
    name = pick(ledger, Ending.DELETED)
    seen.searched[name] = {1}
    return name


def hide_a_document(ledger: Ledger, seen: Observation) -> str:
    name = pick(ledger, Ending.INDEXED)
    seen.searched[name] = set()
    return name


def lose_a_letter(ledger: Ledger, seen: Observation) -> str:
    return seen.letters.pop().name or ""


def bury_a_sound_document(ledger: Ledger, seen: Observation) -> str:
    name = pick(ledger, Ending.INDEXED)
    seen.letters.append(Letter(99, "embedder", "internal_error", name, 3, name))
    return name


def bury_twice(ledger: Ledger, seen: Observation) -> str:
    seen.letters.append(replace(seen.letters[0], seq=99))
    return seen.letters[0].name or ""


def bury_a_message_that_was_sent_once_as_two(ledger: Ledger, seen: Observation) -> str:
    seen.letters.append(replace(seen.letters[0], seq=99, stream_sequence=9_999))
    return seen.letters[0].name or ""


def bury_for_another_reason(ledger: Ledger, seen: Observation) -> str:
    seen.letters[0] = replace(seen.letters[0], code="internal_error")
    return seen.letters[0].name or ""


def leave_work_to_the_reconciler(ledger: Ledger, seen: Observation) -> str:
    seen.reconciliation = {"counts": {"orphan": {"repaired": 1}}}
    return "*"


def leave_a_message_in_a_queue(ledger: Ledger, seen: Observation) -> str:
    seen.stored = {"INGEST": 1, "FACTS": 900}
    return "INGEST"


def refuse_a_write(ledger: Ledger, seen: Observation) -> str:
    name = pick(ledger, Ending.INDEXED)
    write = ledger.accepted[name][-1].write
    ledger.refuse(write, "422")
    return write.key


def never_acknowledge(ledger: Ledger, seen: Observation) -> str:
    name = pick(ledger, Ending.NAMELESS)
    write = ledger.accepted.pop(name)[-1].write
    seen.letters = [letter for letter in seen.letters if letter.name != name]
    return write.key


@pytest.mark.parametrize(
    ("damage", "wrong"),
    [
        (lose_a_document, Wrong.LOSS),
        (lose_a_point, Wrong.LOSS),
        (double_a_point, Wrong.DUPLICATE),
        (leave_an_older_revision, Wrong.ORPHAN),
        (leave_points_of_a_deleted_document, Wrong.ORPHAN),
        (index_what_nobody_sent, Wrong.ORPHAN),
        (index_a_chunk_too_many, Wrong.ORPHAN),
        (list_what_nobody_sent, Wrong.UNKNOWN),
        (leave_it_processing, Wrong.STATE),
        (have_the_api_say_something_else, Wrong.STATE),
        (take_the_earlier_write, Wrong.STATE),
        (fail_with_another_code, Wrong.STATE),
        (wait_for_ever, Wrong.STATE),
        (miscount, Wrong.STATE),
        (keep_the_first_text, Wrong.TEXT),
        (show_a_deleted_document, Wrong.SEARCH),
        (hide_a_document, Wrong.SEARCH),
        (lose_a_letter, Wrong.LETTER),
        (bury_a_sound_document, Wrong.LETTER),
        (bury_twice, Wrong.LETTER),
        (bury_a_message_that_was_sent_once_as_two, Wrong.LETTER),
        (bury_for_another_reason, Wrong.LETTER),
        (leave_work_to_the_reconciler, Wrong.RECONCILIATION),
        (leave_a_message_in_a_queue, Wrong.QUEUED),
        (refuse_a_write, Wrong.NOT_TAKEN),
        (never_acknowledge, Wrong.NOT_TAKEN),
    ],
    ids=lambda each: each.__name__ if callable(each) else "",
)
def test_what_is_wrong_is_found(damage: Damage, wrong: Wrong) -> None:
    plan = small_plan()
    ledger = acknowledged(plan)
    seen = faultless(ledger)
    name = damage(ledger, seen)

    found = judge(plan, ledger, seen)

    assert (wrong, name) in {(finding.fault, finding.document_id) for finding in found}


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    plan = small_plan()
    ledger = acknowledged(plan)

    found = judge(plan, ledger, faultless(ledger))

    assert found == []
    assert set(count_by_fault(found).values()) == {0}


def test_a_write_that_was_tried_again_may_lie_in_the_stream_twice() -> None:
    """The broker forgets the id of a message that is gone, so the second try is one of its own, later in order."""
    plan = small_plan()
    ledger = acknowledged(plan)
    seen = faultless(ledger)
    name = pick(ledger, Ending.INDEXED)
    ledger.accepted[name][-1] = replace(ledger.accepted[name][-1], attempts=2)
    change_row(seen, name, revision=500, visible_revision=500)
    seen.views[name] = {**seen.views[name], "revision": 500}
    seen.points = [replace(point, revision=500) if point.document_id == name else point for point in seen.points]

    assert judge(plan, ledger, seen) == []
