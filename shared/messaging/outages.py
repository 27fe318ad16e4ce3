"""Telling an outage, which every message meets, from the failure of one message.

A consumer whose last tries all failed for want of something, without one that succeeded in between, is in an outage:
its messages wait where they are. As soon as one succeeds they are all tried again, and one that then still fails while
others succeed fails by itself.
"""

import asyncio
from collections import Counter, defaultdict
from typing import Final

# Fewer could be one message that is tried again; with more, an outage costs more deliveries than it must.
FAILURES_OF_AN_OUTAGE: Final = 3


class Outages:
    """Counts by consumer, within this process."""

    def __init__(self) -> None:
        self._failures: Counter[str] = Counter()
        self._over: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def failed(self, consumer: str) -> bool:
        """Take note that a try failed for want of something, and tell whether that is an outage."""
        self._failures[consumer] += 1
        return self._failures[consumer] >= FAILURES_OF_AN_OUTAGE

    def succeeded(self, consumer: str) -> None:
        """Take note that a message was handled, and wake those that wait."""
        if self._failures.pop(consumer, 0):
            self._over.pop(consumer, asyncio.Event()).set()

    def over(self, consumer: str) -> asyncio.Event:
        """Return the event that is set when a message of the consumer is handled again."""
        return self._over[consumer]
