"""Retry, reject or fault: decided by the error's class."""

import pytest

from contracts.codec import DecodeError
from contracts.topology import AGENT, PARSER
from shared.errors import Conflict, DeadlineExpired, InvalidMessage, NotFound, Overloaded, Rejected, Unavailable
from shared.messaging.policy import (
    LONGEST_DELAY_SECONDS,
    LONGEST_WAIT_FOR_ROOM_SECONDS,
    Action,
    backoff_seconds,
    decide,
    reason_of,
)


def test_a_dependency_that_is_away_is_waited_for_with_growing_delay_until_the_last_delivery() -> None:
    error = Unavailable("gone")
    assert decide(error, 1, PARSER).action is Action.RETRY
    assert decide(error, 8, PARSER).delay_seconds > decide(error, 1, PARSER).delay_seconds
    assert decide(error, PARSER.max_deliver, PARSER).action is Action.DEAD


@pytest.mark.parametrize("tries", [1, PARSER.max_faults, PARSER.max_deliver, 10_000])
def test_waiting_for_room_is_no_failed_try_however_often(tries: int) -> None:
    decision = decide(Overloaded("full"), tries, PARSER)
    assert decision.action is Action.WAIT
    assert 0 < decision.delay_seconds <= LONGEST_WAIT_FOR_ROOM_SECONDS


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
