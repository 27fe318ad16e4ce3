"""What becomes of a message whose handler failed; the one place where retry, reject and fault are told apart."""

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from contracts.codec import DecodeError
from contracts.topology import Consumer
from shared.errors import DeadlineExpired, PlatformError, Rejected, Retryable, TakenOver

FIRST_DELAY_SECONDS: Final = 0.5
LONGEST_DELAY_SECONDS: Final = 30.0
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


def decide(error: Exception, deliveries: int, consumer: Consumer) -> Decision:
    """Return what happens after the `deliveries`-th try of a message failed with `error`."""
    if isinstance(error, TakenOver):
        return Decision(Action.LEAVE)
    if isinstance(error, DeadlineExpired) and consumer.honours_deadline:
        return Decision(Action.DROP)
    if isinstance(error, Rejected | DecodeError):
        return Decision(Action.DEAD)
    # A request of our own that ran out of time, on the way of a message that has no deadline itself.
    bound = consumer.max_deliver if isinstance(error, Retryable | DeadlineExpired) else consumer.max_faults
    if deliveries >= bound:
        return Decision(Action.DEAD)
    least = error.retry_after_seconds if isinstance(error, Retryable) else 0.0
    return Decision(Action.RETRY, max(least, backoff_seconds(deliveries)))


def backoff_seconds(deliveries: int) -> float:
    """Return the delay before the next try: 0.5 s doubling to 30 s, ±20 % so that retries do not synchronise."""
    delay = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(deliveries - 1, 16))
    return delay * random.uniform(0.8, 1.2)


def reason_of(error: Exception) -> Reason:
    """Return the reason in public words; the text of an unexpected error stays in the log."""
    name = type(error).__name__
    if isinstance(error, DecodeError):
        return Reason("invalid_message", str(error), name, error.field)
    if isinstance(error, PlatformError):
        return Reason(error.error_code, error.message, name, error.field or "")
    return Reason("internal_error", f"unexpected {name}; the service's log has the details", name)
