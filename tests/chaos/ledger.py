"""What the platform has acknowledged: nothing else may be demanded of it."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tests.chaos.plan import Channel, Plan, Write


@dataclass(frozen=True, slots=True)
class Accepted:
    """An acknowledged write.

    `attempts` counts every try. What was tried again may lie in the stream twice, where the broker forgot the first
    message's id: it keeps ids only of messages that it still has.
    """

    write: Write
    revision: int
    attempts: int
    # Monotonic, in seconds: nothing asked after it may show what a delete took away.
    at: float


@dataclass(slots=True)
class Ledger:
    """The acknowledged writes of each document, in the order in which they were sent."""

    accepted: dict[str, list[Accepted]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    retries: dict[str, int] = field(default_factory=dict)

    def accept(self, write: Write, revision: int, attempts: int) -> None:
        """Note an acknowledgement."""
        found = Accepted(write, revision, attempts, time.monotonic())
        self.accepted.setdefault(write.document_id, []).append(found)

    def refuse(self, write: Write, why: str) -> None:
        """Note a write that the platform would not take at all, which it must not do to any of the plan."""
        self.refused.append(f"{write.key} over {write.channel}: {why}")

    def retry(self, why: str) -> None:
        """Count a try that was not acknowledged."""
        self.retries[why] = self.retries.get(why, 0) + 1

    def last(self, document_id: str) -> Accepted | None:
        """Return the last acknowledged write of a document."""
        history = self.accepted.get(document_id)
        return history[-1] if history else None

    def endings(self) -> Mapping[str, Accepted]:
        """Return the last acknowledged write of each document."""
        return {name: history[-1] for name, history in self.accepted.items()}

    def poison(self) -> Iterator[Accepted]:
        """Yield the acknowledged writes that must have become dead letters."""
        for history in self.accepted.values():
            yield from (each for each in history if each.write.is_poison)

    def gone_at(self, moment: float) -> frozenset[str]:
        """Return the documents whose last write, acknowledged over HTTP by then, was a delete."""
        return frozenset(
            name
            for name, accepted in self.endings().items()
            if accepted.write.deletes and accepted.write.channel is Channel.HTTP and accepted.at <= moment
        )

    def missing(self, plan: Plan) -> list[str]:
        """Return the keys of the writes that were never acknowledged nor refused."""
        refused = {text.partition(" ")[0] for text in self.refused}
        known = {each.write.key for history in self.accepted.values() for each in history}
        planned = (write.key for history in plan.histories.values() for write in history)
        return [key for key in planned if key not in known and key not in refused]
