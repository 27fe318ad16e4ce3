"""How much may be queued ahead of the embedder: so many seconds of its work, at the rate it was seen to work.

A short queue is what keeps the next tenant's wait short; too short a one would leave an embedder idle. The rate is
measured, so that the queue grows with every embedder that is started and with a faster model.
"""

import math
from dataclasses import dataclass
from typing import Final

# The embedder finishes in lumps of up to 64 chunks, some 2 s of work on two cores: the rate is averaged over several.
AVERAGE_SECONDS: Final = 6.0
# A look at the queue after a longer pause says nothing of the rate: it may have been empty meanwhile.
LONGEST_LOOK_SECONDS: Final = 3.0
SHORTEST_LOOK_SECONDS: Final = 0.05
# Several parsers see the same room. Each fills a part of it and looks again.
PART_OF_ROOM: Final = 0.25


@dataclass(frozen=True, slots=True)
class QueueState:
    """What the queue held: messages, their bytes, the last sequence it gave out, and when (monotonic seconds)."""

    messages: int
    size_bytes: int
    last_sequence: int
    at: float


class QueueRoom:
    """Learns from successive looks at the queue how fast it is emptied."""

    def __init__(self, *, ahead_seconds: float, floor_bytes: int) -> None:
        self._ahead_seconds = ahead_seconds
        self._floor_bytes = floor_bytes
        self._last: QueueState | None = None
        self.rate = 0.0

    @property
    def target_bytes(self) -> float:
        """Return how much may be queued: `ahead_seconds` of work, and never less than the floor."""
        return max(float(self._floor_bytes), self.rate * self._ahead_seconds)

    def left(self, state: QueueState) -> float:
        """Return how many bytes may be added now; 0 or less when none may."""
        self._learn(state)
        return min(self.target_bytes - state.size_bytes, self.target_bytes * PART_OF_ROOM)

    def _learn(self, state: QueueState) -> None:
        last = self._last
        if last is not None and state.at - last.at < SHORTEST_LOOK_SECONDS:
            return
        self._last = state
        if last is None or not last.messages or state.at - last.at > LONGEST_LOOK_SECONDS:
            return
        seconds = state.at - last.at
        emptied = state.last_sequence - last.last_sequence - (state.messages - last.messages)
        seen = max(0.0, emptied * last.size_bytes / last.messages / seconds)
        if not state.messages and seen < self.rate:
            return  # It ran dry: the rate was that of the supply.
        self.rate += (seen - self.rate) * -math.expm1(-seconds / AVERAGE_SECONDS)
