"""Errors cross a request as what they were."""

import inspect

import pytest

from shared import errors
from shared.messaging.requests import to_error, to_reply

REQUEST_ERRORS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.PlatformError)
    and kind not in (errors.PlatformError, errors.Misconfigured, errors.RemoteFault, errors.TakenOver)
]


@pytest.mark.parametrize("kind", REQUEST_ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_of_the_tree_keeps_its_meaning_across_a_request(kind: type[errors.PlatformError]) -> None:
    back = to_error(to_reply(kind("why", code="special")))
    assert isinstance(back, errors.PlatformError)
    assert (back.message, back.error_code) == ("why", "special")
    for family in (errors.Retryable, errors.Rejected, errors.DeadlineExpired, errors.NotFound):
        assert isinstance(back, family) == issubclass(kind, family)


def test_an_unexpected_error_tells_the_caller_nothing_of_its_text() -> None:
    reply = to_reply(ValueError("secret"))
    assert reply.kind == "fault"
    assert "secret" not in reply.message
