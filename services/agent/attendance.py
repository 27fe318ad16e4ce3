"""Work for somebody who reads along: it ends when nobody has listened for a while."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from contracts.queries import AskQuestion
from shared.errors import DeadlineExpired


class Attendance:
    """Knows which questions are worked on for a reader; `seconds` is how long one may be away."""

    def __init__(self, *, seconds: float) -> None:
        self._seconds = seconds
        self._bounds: defaultdict[str, set[asyncio.Timeout]] = defaultdict(set)

    def heard(self, query_id: str) -> None:
        """Take note that somebody listens to an answer."""
        for bound in self._bounds.get(query_id, ()):
            if not bound.expired():
                bound.reschedule(self._end())

    @asynccontextmanager
    async def of(self, question: AskQuestion) -> AsyncIterator[None]:
        """Run the block, cancelled when its reader is gone; DeadlineExpired with code `query_cancelled` says so."""
        if not question.attended:
            yield
            return
        query_id = question.query_id
        bound = asyncio.timeout_at(self._end())
        self._bounds[query_id].add(bound)
        try:
            async with bound:
                yield
        except TimeoutError:
            if not bound.expired():
                raise
            message = f"nobody has listened to this answer for {self._seconds:g} s"
            raise DeadlineExpired(message, code="query_cancelled") from None
        finally:
            self._bounds[query_id].discard(bound)
            if not self._bounds[query_id]:
                del self._bounds[query_id]

    def _end(self) -> float:
        return asyncio.get_running_loop().time() + self._seconds
