"""What becomes of a message whose handler failed; the one place where retry, reject and fault are told apart."""

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from contracts.codec import DecodeError
from contracts.topology import Consumer
from shared.errors import DeadlineExpired, Overloaded, PlatformError, Rejected, Retryable, TakenOver, Unavailable

FIRST_DELAY_SECONDS: Final = 0.5
LONGEST_DELAY_SECONDS: Final = 30.0
# A queue of 2,000 that somebody empties at 400 a second is not empty before the next look.
LONGEST_WAIT_FOR_ROOM_SECONDS: Final = 5.0
# How long a message waits out an outage in its worker before others get the worker's time. Thirty tries then last more
# than an hour, and what makes a dependency fail by itself cannot hold every worker for longer than this.
LONGEST_WAIT_IN_PLACE_SECONDS: Final = 120.0
# The last deliveries stay in reserve: if writing the dead letter fails there must be another one.
RESERVED_DELIVERIES: Final = 5


class Action(StrEnum):
    """What to do with a message."""

    RETRY = "retry"
    DEAD = "dead"
    DROP = "drop"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class Decision:
    """The action, and for a retry the delay in seconds."""

    action: Action
    delay_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a message is a dead letter, in the words that people and programs will read."""

    code: str
    message: str
    error: str
    field: str = ""


def decide(error: Exception, tries: int, consumer: Consumer) -> Decision:
    """Return what happens after the `tries`-th delivery of a message failed with `error`."""
    if isinstance(error, TakenOver):
        return Decision(Action.LEAVE)
    if isinstance(error, DeadlineExpired) and consumer.honours_deadline:
        return Decision(Action.DROP)
    if isinstance(error, Rejected | DecodeError):
        return Decision(Action.DEAD)
    # A request of our own that ran out of time, on the way of a message that has no deadline itself.
    bound = consumer.max_deliver if isinstance(error, Retryable | DeadlineExpired) else consumer.max_faults
    if tries >= bound:
        return Decision(Action.DEAD)
    least = error.retry_after_seconds if isinstance(error, Retryable) else 0.0
    return Decision(Action.RETRY, max(least, backoff_seconds(tries)))


def wait_seconds(error: Exception, tries: int, waited_seconds: float, *, outage: bool) -> float | None:
    """Return how long a message waits where it is before its handler is tried again; None when that try has failed.

    Waiting is no failed try: for room in a full queue and for what is away it goes on without end, in an outage up to
    a bound, after which the delivery counts. `tries` counts those of this delivery, `waited_seconds` their waiting.
    """
    if isinstance(error, Overloaded):
        return max(error.retry_after_seconds, min(LONGEST_WAIT_FOR_ROOM_SECONDS, backoff_seconds(tries)))
    if not isinstance(error, Retryable | DeadlineExpired):
        return None
    away = isinstance(error, Unavailable) and error.away
    if away or (outage and waited_seconds < LONGEST_WAIT_IN_PLACE_SECONDS):
        least = error.retry_after_seconds if isinstance(error, Retryable) else 0.0
        return max(least, backoff_seconds(tries))
    return None


def backoff_seconds(tries: int) -> float:
    """Return the delay before the next try: 0.5 s doubling to 30 s, ±20 % so that retries do not synchronise."""
    delay = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(tries - 1, 16))
    return delay * random.uniform(0.8, 1.2)  # nosec B311: spreads retries


def reason_of(error: Exception) -> Reason:
    """Return the reason in public words; the text of an unexpected error stays in the log."""
    name = type(error).__name__
    if isinstance(error, DecodeError):
        return Reason("invalid_message", str(error), name, error.field)
    if isinstance(error, PlatformError):
        return Reason(error.error_code, error.message, name, error.field or "")
    return Reason("internal_error", f"unexpected {name}; the service's log has the details", name)
