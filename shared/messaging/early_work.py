"""Which messages were handled before their turn came, so that nobody does it again, and whom the durable serves."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

# A set of so many numbers takes 6 MB. What does not fit is done again, which changes nothing but the time it takes.
MAX_REMEMBERED: Final = 100_000


class EarlyWork:
    """Sequences in work or done ahead of the durable consumer, and the tenants that it serves by this replica."""

    def __init__(self) -> None:
        self._done: set[int] = set()
        self._in_work: dict[int, asyncio.Event] = {}
        self._settled = 0
        self._delivered = 0
        self._served: Counter[str] = Counter()

    def __contains__(self, sequence: int) -> bool:
        return sequence in self._done or sequence in self._in_work

    def did(self, sequence: int) -> None:
        """Remember that everything that follows from a message is stored."""
        if sequence > self._settled and len(self._done) < MAX_REMEMBERED:
            self._done.add(sequence)

    def heard(self, sequence: int) -> None:
        """Remember what some replica did, unless the durable gave it out: then it is that replica's to settle."""
        if sequence > self._delivered:
            self.did(sequence)

    def delivered(self, sequence: int) -> None:
        """Take note of how far the durable is."""
        self._delivered = max(self._delivered, sequence)

    def settled(self, sequence: int) -> None:
        """Forget messages up to a sequence: they are acknowledged and never come again."""
        if sequence > self._settled:
            self._settled = sequence
            self._done = {number for number in self._done if number > sequence}

    def is_served(self, tenant: str) -> bool:
        """Return whether the durable gave out a message of this tenant that is in work now."""
        return tenant in self._served

    @property
    def is_busy(self) -> bool:
        """Return whether anything is in work, or remembered."""
        return bool(self._served or self._done or self._in_work)

    @contextmanager
    def serving(self, tenant: str, sequence: int) -> Iterator[None]:
        """Count a message as given out by the durable for as long as the block runs."""
        self.delivered(sequence)
        self._served[tenant] += 1
        try:
            yield
        finally:
            self._served -= Counter((tenant,))

    @contextmanager
    def in_work(self, sequence: int) -> Iterator[None]:
        """Have whoever gets the message meanwhile wait until the block ends."""
        ended = self._in_work[sequence] = asyncio.Event()
        try:
            yield
        finally:
            del self._in_work[sequence]
            ended.set()

    async def was_done(self, sequence: int) -> bool:
        """Return whether a message is done already, after the work on it that goes on."""
        if (ended := self._in_work.get(sequence)) is not None:
            await ended.wait()
        return sequence in self._done
