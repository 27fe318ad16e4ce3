"""How a failure travels in a reply."""

from typing import Literal

from contracts.messages import Message


class ErrorReply(Message):
    """A failed request: `kind` decides what the caller may do, `code` and `message` say what happened.

    `quotes` tells that the message repeats words that may hold a question or a text: it is not for a log.
    """

    kind: Literal["retryable", "rejected", "not_found", "expired", "fault"]
    code: str
    message: str
    field: str | None = None
    retry_after_seconds: float | None = None
    quotes: bool = False
