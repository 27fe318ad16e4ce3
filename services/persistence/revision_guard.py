"""Keeps intake from taking new messages for old ones.

A revision is a sequence of INGEST. Where the broker's store is older than the database, or INGEST was made anew by
hand, its next sequences are ones that documents have already: whatever is accepted then would be dropped as outdated,
and nobody would be told. So intake waits until the end of INGEST is known to lie above everything that the database
knows, and again whenever the connection was lost or the end of INGEST has fallen.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from shared.errors import DeadlineExpired, PlatformError, Unavailable
from shared.logs import get_logger

log = get_logger(__name__)

FIRST_LOOK_SECONDS: Final = 0.2
LOOK_SECONDS: Final = 2.0
REMIND_SECONDS: Final = 30.0
ADVICE: Final = (
    "stop who publishes and run `rag provision --renew-ingest`; until then nothing is recorded, because it would be"
    " taken for older than what is stored"
)


@dataclass(frozen=True, slots=True)
class Numbering:
    """Where the sequence of INGEST began when it was made, and its last one."""

    first: int
    last: int


# Returns once a sequence of INGEST may be taken for a revision, false for a message that must not be recorded.
Admits = Callable[[int], Awaitable[bool]]


class Ingest(Protocol):
    """The stream; every call may raise Unavailable."""

    def connection(self) -> int:
        """Return a number that changes with every new connection to the broker."""
        ...

    async def numbering(self) -> Numbering | None:
        """Return the numbering, None while there is no stream."""
        ...


class BehindError(PlatformError):
    """INGEST ends below a revision that is known."""


class RevisionGuard:
    """Compares INGEST with what is known; both callables may raise Unavailable.

    `highest_recorded` returns the highest revision in the database. `highest_indexed_above` returns one in the index
    above the given one, 0 for none: a second witness, for a database that was restored as well; it is heard as soon as
    a retriever answers.
    """

    def __init__(
        self,
        ingest: Ingest,
        highest_recorded: Callable[[], Awaitable[int]],
        highest_indexed_above: Callable[[int], Awaitable[int]],
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._ingest = ingest
        self._highest_recorded = highest_recorded
        self._highest_indexed_above = highest_indexed_above
        self._stopping = stopping
        self._checked_connection: int | None = None
        self._seen = Numbering(1, 0)
        self._index_heard = False
        self._problem = "INGEST and the database are not compared yet"
        self._reminded = -REMIND_SECONDS
        self._looked = -LOOK_SECONDS
        self._behind = False
        self._looking = asyncio.Lock()

    async def admits(self, sequence: int) -> bool:
        """Return once the numbering is right; false for a message of an INGEST that is no more and numbered wrongly.

        Unavailable when the process stops before.
        """
        waited = False
        while not self._right:
            found_behind = await self._look()
            waited = waited or found_behind
            if self._stopping():
                raise Unavailable(self._problem)
            if not self._right:
                await asyncio.sleep(FIRST_LOOK_SECONDS)
        return not (waited and sequence < self._seen.first)

    async def watch(self) -> None:
        """Look again and again until cancelled; what cannot be asked is asked later."""
        while True:
            await self._look_again()
            await asyncio.sleep(LOOK_SECONDS if self._right else FIRST_LOOK_SECONDS)

    async def check(self) -> dict[str, Any]:
        """Return where revisions began; BehindError says what is wrong and what to do."""
        if not self._right:
            raise BehindError(self._problem)
        return {"revisions_from": self._seen.first, "compared_with_index": self._index_heard}

    @property
    def _right(self) -> bool:
        return self._checked_connection == self._ingest.connection()

    async def _look_again(self) -> None:
        if not self._right:
            await self._look()
            return
        try:
            numbering = await self._ingest.numbering()
        except Unavailable:
            return
        fallen = numbering is not None and numbering.last < self._seen.last
        if numbering is None or fallen or not self._index_heard:
            self._checked_connection = None if numbering is None or fallen else self._checked_connection
            await self._look()
        else:
            self._seen = numbering

    async def _look(self) -> bool:
        """Compare; true when INGEST is behind."""
        async with self._looking:
            connection, now = self._ingest.connection(), time.monotonic()
            if now - self._looked < FIRST_LOOK_SECONDS and self._behind:
                return True
            self._looked, self._behind = now, False
            try:
                await self._compare()
                self._checked_connection = connection
            except BehindError as error:
                self._checked_connection, self._behind = None, True
                self._problem = f"{error}; {ADVICE}"
                self._remind(now)
            except PlatformError as error:
                self._problem = f"INGEST and the database cannot be compared: {error.message}"
            return self._behind

    async def _compare(self) -> None:
        """Raise BehindError when a revision is known that INGEST has not come to; Unavailable when it can't be asked.

        Whatever is known was in INGEST before, so INGEST is asked last.
        """
        recorded = await self._highest_recorded()
        numbering = await self._numbering()
        if numbering.last < recorded:
            raise BehindError(f"INGEST ends at {numbering.last}, but the database knows revision {recorded}")
        self._seen = numbering
        try:
            indexed = await self._highest_indexed_above(numbering.last)
        except (Unavailable, DeadlineExpired):
            self._index_heard = False
            return
        self._index_heard = True
        # What came in meanwhile is indexed rightly.
        if indexed and (await self._numbering()).last < indexed:
            raise BehindError(f"INGEST ends at {numbering.last}, but the index holds revision {indexed}")

    async def _numbering(self) -> Numbering:
        numbering = await self._ingest.numbering()
        if numbering is None:
            raise Unavailable("there is no INGEST; run `rag provision`")
        return numbering

    def _remind(self, now: float) -> None:
        if now - self._reminded > REMIND_SECONDS:
            self._reminded = now
            log.critical("ingest_behind", reason=self._problem)
