"""What is reported, and what belongs to how things go."""

import asyncio

import pytest
from fastapi import HTTPException
from starlette.requests import ClientDisconnect

from shared.error_reports import is_expected
from shared.errors import DeadlineExpired, Misconfigured, Rejected, RemoteFault, Unavailable


@pytest.mark.parametrize(
    "error",
    [
        Rejected("no"),
        Unavailable("away"),
        DeadlineExpired("late"),
        RemoteFault("its own process reported it"),
        Misconfigured("a person's"),
        asyncio.CancelledError(),
        KeyboardInterrupt(),
        ClientDisconnect(),
        HTTPException(404),
        HTTPException(405),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_nobody_has_to_mend_is_no_report(error: BaseException) -> None:
    assert is_expected(error)


@pytest.mark.parametrize(
    "error",
    [KeyError("x"), ValueError("x"), HTTPException(500), ExceptionGroup("x", [KeyError("x")]), TimeoutError()],
    ids=lambda error: type(error).__name__,
)
def test_a_fault_is_a_report(error: BaseException) -> None:
    assert not is_expected(error)
