"""Which messages were parsed before their turn came, so that nobody does it again."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

# A set of so many numbers takes 6 MB. What does not fit is parsed again, which changes nothing but the time it takes.
MAX_REMEMBERED: Final = 100_000


class EarlyWork:
    """Sequences that are in work or parsed ahead of the durable consumer, by this replica or another one."""

    def __init__(self) -> None:
        self._parsed: set[int] = set()
        self._in_work: dict[int, asyncio.Event] = {}
        self._settled = 0
        self._delivered = 0

    def __len__(self) -> int:
        return len(self._parsed)

    def __contains__(self, sequence: int) -> bool:
        return sequence in self._parsed or sequence in self._in_work

    def parsed(self, sequence: int) -> None:
        """Remember that everything that follows from a message is stored."""
        if sequence > self._settled and len(self._parsed) < MAX_REMEMBERED:
            self._parsed.add(sequence)

    def heard(self, sequence: int) -> None:
        """Remember what some replica parsed, unless the durable gave it out: then it is that replica's to settle."""
        if sequence > self._delivered:
            self.parsed(sequence)

    def delivered(self, sequence: int) -> None:
        """Take note of how far the durable is."""
        self._delivered = max(self._delivered, sequence)

    def settled(self, sequence: int) -> None:
        """Forget messages up to a sequence: they are acknowledged and never come again."""
        if sequence > self._settled:
            self._settled = sequence
            self._parsed = {number for number in self._parsed if number > sequence}

    @contextmanager
    def in_work(self, sequence: int) -> Iterator[None]:
        """Have whoever gets the message meanwhile wait until the block ends."""
        ended = self._in_work[sequence] = asyncio.Event()
        try:
            yield
        finally:
            del self._in_work[sequence]
            ended.set()

    async def was_parsed(self, sequence: int) -> bool:
        """Return whether a message is parsed already, after the work on it that goes on."""
        if (ended := self._in_work.get(sequence)) is not None:
            await ended.wait()
        return sequence in self._parsed
