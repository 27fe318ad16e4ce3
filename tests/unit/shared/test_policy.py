"""Retry, reject or fault: decided by the error's class."""

import pytest
from opentelemetry.metrics import NoOpMeter
from opentelemetry.trace import NoOpTracer

from contracts import subjects
from contracts.codec import DecodeError
from contracts.topology import AGENT, PARSER
from shared.errors import Conflict, DeadlineExpired, InvalidMessage, NotFound, NotYet, Overloaded, Rejected, Unavailable
from shared.messaging.delivery import Delivery
from shared.messaging.outages import Outages
from shared.messaging.policy import (
    LONGEST_DELAY_SECONDS,
    LONGEST_WAIT_FOR_ROOM_SECONDS,
    LONGEST_WAIT_IN_PLACE_SECONDS,
    Action,
    backoff_seconds,
    decide,
    reason_of,
    wait_seconds,
)
from shared.messaging.reliability import Reliability
from shared.metrics import MessagingMetrics


def test_a_dependency_that_is_away_is_waited_for_with_growing_delay_until_the_last_delivery() -> None:
    error = Unavailable("gone")
    assert decide(error, 1, PARSER).action is Action.RETRY
    assert decide(error, 8, PARSER).delay_seconds > decide(error, 1, PARSER).delay_seconds
    assert decide(error, PARSER.max_deliver, PARSER).action is Action.DEAD


@pytest.mark.parametrize("tries", [1, 5, 50, 5_000])
def test_waiting_for_room_is_no_failed_try_however_often(tries: int) -> None:
    seconds = wait_seconds(Overloaded("full"), tries, 1e6, outage=False)
    assert seconds is not None
    assert 1 <= seconds <= LONGEST_WAIT_FOR_ROOM_SECONDS


def test_what_is_away_is_waited_for_without_end() -> None:
    """INVARIANT: dependencies may go away: an hour without a database makes no dead letter of what was accepted."""
    assert wait_seconds(Unavailable("refused", away=True), 500, 1e6, outage=False) is not None


def test_an_outage_is_waited_out_in_place_up_to_a_bound() -> None:
    error = Unavailable("answers 500")
    assert wait_seconds(error, 3, 10.0, outage=False) is None
    assert wait_seconds(error, 3, 10.0, outage=True) is not None
    assert wait_seconds(error, 9, LONGEST_WAIT_IN_PLACE_SECONDS, outage=True) is None


@pytest.mark.parametrize("error", [Rejected("no"), KeyError("x")])
def test_what_cannot_heal_is_not_waited_for(error: Exception) -> None:
    assert wait_seconds(error, 1, 0.0, outage=True) is None


def test_one_success_ends_an_outage_and_wakes_who_waits() -> None:
    outages = Outages()
    assert [outages.failed("embedder") for _ in range(4)] == [False, False, True, True]
    assert not outages.failed("parser")
    over = outages.over("embedder")
    outages.succeeded("embedder")
    assert over.is_set()
    assert not outages.over("embedder").is_set()
    assert not outages.failed("embedder")


@pytest.mark.parametrize(
    "error", [Rejected("no"), InvalidMessage("no"), NotFound("no"), Conflict("no"), DecodeError("id", "empty")]
)
def test_rejected_messages_are_dead_at_once(error: Exception) -> None:
    assert decide(error, 1, PARSER).action is Action.DEAD


def test_a_fault_gets_a_few_tries_only() -> None:
    assert decide(KeyError("x"), PARSER.max_faults - 1, PARSER).action is Action.RETRY
    assert decide(KeyError("x"), PARSER.max_faults, PARSER).action is Action.DEAD


def test_an_expired_question_is_dropped_but_an_accepted_document_is_tried_again() -> None:
    assert decide(DeadlineExpired("late"), 1, AGENT).action is Action.DROP
    assert decide(DeadlineExpired("late"), 1, PARSER).action is Action.RETRY


def test_a_caller_s_retry_after_is_never_undercut() -> None:
    assert decide(Unavailable("gone", retry_after_seconds=60), 1, PARSER).delay_seconds == 60


@pytest.mark.parametrize("deliveries", [1, 2, 5, 50, 5_000])
def test_delays_are_bounded(deliveries: int) -> None:
    assert 0 < backoff_seconds(deliveries) <= LONGEST_DELAY_SECONDS * 1.2


def test_the_text_of_an_unexpected_error_stays_inside() -> None:
    reason = reason_of(RuntimeError("password=hunter2"))
    assert reason.code == "internal_error"
    assert "hunter2" not in reason.message


def test_a_rejection_names_code_reason_and_field() -> None:
    reason = reason_of(Rejected("is empty", code="no_text", field="text"))
    assert (reason.code, reason.message, reason.field) == ("no_text", "is empty", "text")


async def test_what_single_messages_lack_is_no_outage() -> None:
    """INVARIANT: nothing poisons the queue. Who names a hundred things that are not there holds up nobody else."""
    reliability = Reliability(NoOpTracer(), MessagingMetrics(NoOpMeter("test")))
    delivery = Delivery(subjects.ingest("acme"), {}, "INGEST", PARSER.name, 1, 1, 0.0, b"")
    for _ in range(100):
        with pytest.raises(NotYet):
            await reliability.wait_in_place(NotYet("object 'x' is not in the store"), delivery, 1, 0.0)
