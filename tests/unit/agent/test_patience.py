"""Patience: who is asked again, how long, and who is not."""

import time

import pytest

from contracts import subjects
from contracts.retrieval import RetrieveReply, RetrieveRequest
from services.agent.patience import PatientAsk
from shared.errors import DeadlineExpired, Overloaded, Rejected, Unavailable
from tests.unit.agent.library import Library

REQUEST = RetrieveRequest(tenant="acme", query="harbour")


async def asked(library: Library, *, patience: float, deadline: float | None = None) -> RetrieveReply:
    ask = PatientAsk(library, patience_seconds=patience, retry_seconds=0.01)
    return await ask(subjects.RETRIEVE, REQUEST, RetrieveReply, deadline=deadline)


async def test_a_service_that_comes_back_in_time_is_asked_again() -> None:
    library = Library()
    library.failures = [Unavailable("away"), Overloaded("full"), Unavailable("away")]
    assert (await asked(library, patience=5)).hits
    assert len(library.requests) == 4


async def test_one_that_stays_away_is_reported_when_patience_is_over() -> None:
    library = Library()
    library.failures = [Unavailable("away")] * 1_000
    started = time.monotonic()
    with pytest.raises(Unavailable, match="away"):
        await asked(library, patience=0.1)
    assert time.monotonic() - started < 2
    assert 2 <= len(library.requests) < 1_000


async def test_patience_ends_with_the_deadline() -> None:
    library = Library()
    library.failures = [Unavailable("away")] * 1_000
    started = time.monotonic()
    with pytest.raises(Unavailable):
        await asked(library, patience=60, deadline=time.time() + 0.1)
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("error", [Rejected("no"), DeadlineExpired("late"), RuntimeError("bug")])
async def test_what_will_not_heal_is_not_asked_again(error: Exception) -> None:
    library = Library()
    library.failures = [error]
    with pytest.raises(type(error)):
        await asked(library, patience=60)
    assert len(library.requests) == 1


async def test_every_request_carries_the_deadline() -> None:
    library, deadline = Library(), time.time() + 60
    library.failures = [Unavailable("away")]
    await asked(library, patience=5, deadline=deadline)
    assert library.deadlines == [deadline, deadline]
