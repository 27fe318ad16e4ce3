"""Seats of which no single key takes all."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from services.gateway.problems import RequestProblem
from services.gateway.seats import Seats

RETRY_SECONDS = 1.0

_caller: ContextVar[str | None] = ContextVar("caller", default=None)


def bind_caller(key_id: str | None) -> None:
    """Remember whose request this task serves."""
    _caller.set(key_id)


class CallerSeats(Seats):
    """Seats of which a key takes at most `per_caller` at the same time, 0 for no such bound.

    `taken` raises RequestProblem 429 (`too_many_streams`) for a key that has that many, Overloaded when none is free.
    """

    def __init__(self, places: int, reason: str, *, per_caller: int) -> None:
        super().__init__(places, reason)
        self._per_caller = per_caller
        self._of_caller: Counter[str] = Counter()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold one place while the block runs."""
        caller = _caller.get()
        if caller is None or not self._per_caller:
            with super().taken():
                yield
            return
        self._require(caller)
        with super().taken():
            self._of_caller[caller] += 1
            try:
                yield
            finally:
                self._of_caller[caller] -= 1
                if not self._of_caller[caller]:
                    del self._of_caller[caller]

    def _require(self, caller: str) -> None:
        if self._of_caller[caller] >= self._per_caller:
            raise RequestProblem(
                429,
                "too_many_streams",
                f"this key has {self._per_caller} streams and waiting requests open, which is its limit",
                retry_after_seconds=RETRY_SECONDS,
            )
