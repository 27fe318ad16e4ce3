"""A circuit breaker: what failed several times in a row is left alone for a while, then tried by one caller.

The states are purgatory's. Its own context manager raises one and the same exception while a circuit is open, which
then holds on to the frames of all who met it, and lets everybody in at once when the time is over; here callers ask
first, and one of them probes.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from purgatory.domain.model import Context, OpenedState

_CLOSED: Final = "closed"


def every_error(_error: Exception) -> bool:
    """Count everything."""
    return True


class Circuit:
    """Opens after `failures` in a row, for `open_seconds`; `counts` tells which errors are failures."""

    def __init__(
        self, name: str, *, failures: int, open_seconds: float, counts: Callable[[Exception], bool] = every_error
    ) -> None:
        self._context = Context(name, failures, open_seconds)
        self._open_seconds = open_seconds
        self._counts = counts
        self._probing = False

    @property
    def closed(self) -> bool:
        """Tell whether all is well."""
        return bool(self._context.state == _CLOSED)

    @property
    def seconds_left(self) -> float:
        """Return how long nothing is tried yet, 0 when something may be."""
        opened_at = self._context.opened_at
        return 0.0 if self.closed or opened_at is None else max(0.0, opened_at + self._open_seconds - time.time())

    def admits(self) -> bool:
        """Tell whether a call may be tried now; if so it must be, within `watching`."""
        if self.closed:
            return True
        if self._probing:
            return False
        try:
            self._context.handle_new_request()
        except OpenedState as state:
            state.__traceback__ = None
            return False
        self._probing = True
        return True

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count how the call in the block ends; a caller who is cancelled says nothing of what was called."""
        try:
            yield
        except Exception as error:
            if self._counts(error):
                self._context.handle_exception(error)
            else:
                self._context.handle_end_request()
            raise
        else:
            self._context.handle_end_request()
        finally:
            self._probing = False
            self._context.messages.clear()
