"""The platform's errors, and what each of them means for a message and for a caller.

    PlatformError
    ├── Retryable             nak with growing delay      503 + Retry-After
    │   ├── Unavailable       a dependency is gone; with `away` it surely is, whoever asks
    │   │   └── StreamMoved   a message was expected behind another one
    │   ├── Overloaded        a bounded queue is full: the message waits, which is no failed try
    │   └── NotYet            what this message alone names is not there; others are no worse off
    ├── Rejected              dead letter at once         422
    │   ├── InvalidMessage    bytes or fields are wrong   422
    │   ├── NotFound          no such thing               404
    │   └── Conflict          contradicts what is there   409
    ├── DeadlineExpired       dropped and counted         504
    ├── TakenOver             left alone                  none: somebody else answers
    ├── RemoteFault           a few tries, then dead      500
    └── Misconfigured         the process ends with 2; a restart would not help

Anything else is a fault of ours: a message gets a few tries and then becomes a dead letter, a caller gets a 500.
"""

from typing import ClassVar, Self


class PlatformError(Exception):
    """An expected failure: `code` is for programs, `message` for people, `field` names the input that is wrong.

    `quotes` tells that the message repeats what somebody else said, which may hold a question or a text: whoever asked
    may read it, a log may not.
    """

    code: ClassVar[str] = "error"
    quotes: bool = False

    def __init__(self, message: str, *, code: str | None = None, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.error_code = code or self.code
        self.field = field

    def quoting(self) -> Self:
        """Return this error, marked as one that repeats what somebody else said."""
        self.quotes = True
        return self


class Retryable(PlatformError):
    """It may work later: the message waits and is tried again; a caller is told to come back."""

    code = "temporarily_unavailable"
    default_retry_after_seconds: ClassVar[float] = 2.0

    def __init__(self, message: str, *, code: str | None = None, retry_after_seconds: float | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after_seconds = retry_after_seconds or self.default_retry_after_seconds


class Unavailable(Retryable):
    """A dependency does not answer.

    `away` tells that it cannot be reached at all, which no message can be the cause of: a connection that is refused,
    a service that does not run. Messages wait for it without end.
    """

    code = "dependency_unavailable"

    def __init__(
        self, message: str, *, code: str | None = None, retry_after_seconds: float | None = None, away: bool = False
    ) -> None:
        super().__init__(message, code=code, retry_after_seconds=retry_after_seconds)
        self.away = away


class StreamMoved(Unavailable):
    """The stream took another message after the one that the publisher expected to be its last."""

    code = "stream_moved"


class NotYet(Retryable):
    """What a message names is not there now: an object, a page of somebody else's server.

    It says nothing of other messages: however many fail so, it is no outage, and nothing waits for it in its place.
    """

    code = "not_there_yet"


class Overloaded(Retryable):
    """A bounded queue is full."""

    code = "overloaded"
    default_retry_after_seconds = 1.0


class Rejected(PlatformError):
    """It will never work as it stands: a dead letter at once, or an answer that names what to change."""

    code = "rejected"


class InvalidMessage(Rejected):
    """The input breaks its schema."""

    code = "invalid_message"


class NotFound(Rejected):
    """There is no such thing for this tenant."""

    code = "not_found"


class Conflict(Rejected):
    """The input contradicts what is already there."""

    code = "conflict"


class DeadlineExpired(PlatformError):
    """Nobody waits for the result any more."""

    code = "deadline_expired"


class TakenOver(PlatformError):
    """Another delivery of the same message is at work: this one stops and settles nothing."""

    code = "taken_over"


class RemoteFault(PlatformError):
    """The service that was asked failed in a way it did not expect; its log has the details."""

    code = "internal_error"


class Misconfigured(PlatformError):
    """The deployment is wrong: a setting, a file or a model; only a person can help."""

    code = "misconfigured"
