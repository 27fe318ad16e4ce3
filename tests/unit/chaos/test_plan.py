"""What a chaos run sends and breaks follows from its seed, and has of everything what it promises."""

import base64
import json
from functools import partial

import pytest

from contracts.chunks import MAX_CHUNKS_PER_BATCH
from contracts.codec import DecodeError, decode
from contracts.documents import IngestMessage
from tests.chaos.faults import TARGETS, Kind, draw_faults
from tests.chaos.plan import BULKY_BYTES, OPENING, TIMED_SECONDS, Channel, Ending, make_plan

DOCUMENTS = 500
SECONDS = 600.0


def test_a_seed_plans_the_same_again_and_another_one_something_else() -> None:
    assert make_plan(1, 50, 60) == make_plan(1, 50, 60)
    assert make_plan(1, 50, 60) != make_plan(2, 50, 60)


def test_a_plan_has_its_shares_of_updates_deletes_and_poison() -> None:
    plan = make_plan(3, DOCUMENTS, SECONDS)
    histories = plan.histories.values()

    assert len(plan.histories.keys() - {OPENING}) == DOCUMENTS
    assert sum(history[-1].edition > 1 and not any(w.deletes for w in history) for history in histories) == 50
    assert sum(any(write.deletes for write in history) for history in histories) == 50
    assert plan.count(Ending.DELETED) == 45
    assert sum(history[-1].is_poison for history in histories) == 10
    assert {history[-1].code for history in histories if history[-1].is_poison} == {
        "corrupt",
        "invalid_message",
        "no_text",
        "object_missing",
    }
    assert {write.channel for history in histories for write in history if write.deletes} == set(Channel)


def test_the_writes_of_a_document_follow_one_another_within_the_time() -> None:
    plan = make_plan(4, DOCUMENTS, SECONDS)

    for history in plan.histories.values():
        moments = [write.at for write in history]
        assert moments == sorted(moments)
        assert moments[0] >= 0
        assert moments[-1] <= SECONDS
        assert len({write.key for write in history}) == len(history)


def test_half_of_the_writes_come_just_before_the_moments_that_count() -> None:
    plan = make_plan(8, DOCUMENTS, SECONDS, [100.0, 300.0])
    firsts = [history[0].at for history in plan.histories.values()]
    timed = [at for at in firsts if any(0 <= moment - at <= TIMED_SECONDS for moment in (100.0, 300.0))]

    assert 0.4 < len(timed) / len(firsts) < 0.6


def test_only_poison_breaks_the_schema() -> None:
    for history in make_plan(5, DOCUMENTS, SECONDS).histories.values():
        for write in history:
            if write.code == "invalid_message":
                with pytest.raises(DecodeError):
                    decode(IngestMessage, write.message)
            else:
                assert decode(IngestMessage, write.message).id == write.document_id


def test_some_documents_need_the_object_store_and_some_several_batches() -> None:
    plan = make_plan(6, DOCUMENTS, SECONDS)
    writes = [write for history in plan.histories.values() for write in history]
    bulky = [write for write in writes if "text/html" in json.dumps(dict(write.fields))]

    assert all(len(base64.b64decode(write.fields["content"])) > BULKY_BYTES for write in bulky)
    assert bulky
    assert max(write.sentences for write in writes) > 2 * MAX_CHUNKS_PER_BATCH


def test_faults_of_a_process_do_not_overlap_and_all_happen_in_time() -> None:
    draw = partial(draw_faults, seconds=900, kills=5, freezes=5, freeze_seconds=dict.fromkeys(TARGETS, 40.0))
    planned = draw(1)

    assert planned == draw(1)
    assert planned != draw(2)
    for target, faults in planned.items():
        assert [fault.kind for fault in faults].count(Kind.KILL) == 5
        assert {fault.target for fault in faults} == {target}
        ends = [fault.at + fault.seconds for fault in faults]
        assert all(end < following.at for end, following in zip(ends, faults[1:], strict=False))
        assert ends[-1] <= 900


def test_faults_that_do_not_fit_into_the_time_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit into 100 s"):
        draw_faults(1, 100, kills=0, freezes=3, freeze_seconds={"parser": 40})
