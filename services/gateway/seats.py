"""A bound on what is held, or on who waits, at the same time."""

from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import Overloaded


class Seats:
    """A number of places; whoever finds too few is turned away at once."""

    def __init__(self, places: int, reason: str) -> None:
        self._free = places
        self._reason = reason

    @property
    def free(self) -> int:
        """Return how many places nobody has."""
        return self._free

    def take(self, places: int) -> None:
        """Take places until they are given back; Overloaded, with the reason, when so many are not free."""
        if places > self._free:
            raise Overloaded(self._reason)
        self._free -= places

    def give_back(self, places: int) -> None:
        """Free places."""
        self._free += places

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold one place while the block runs; Overloaded when none is free."""
        self.take(1)
        try:
            yield
        finally:
            self.give_back(1)
