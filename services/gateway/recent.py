"""What this replica accepted moments ago, which persistence may not know yet."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class RecentWrite:
    """An accepted upsert or delete; `at` is the clock's time in seconds."""

    revision: int
    collection: str
    at: float


class RecentWrites:
    """A bounded memory of accepted writes; the oldest goes first."""

    def __init__(self, *, keep_seconds: float, max_entries: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._keep_seconds = keep_seconds
        self._max_entries = max_entries
        self._clock = clock
        self._documents: OrderedDict[tuple[str, str], RecentWrite] = OrderedDict()
        self._collections: OrderedDict[tuple[str, str], float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._documents) + len(self._collections)

    def record(self, tenant: str, document_id: str, revision: int, collection: str) -> None:
        """Remember a write; of two writes to a document the later revision stays."""
        known = self.find(tenant, document_id)
        if known is None or known.revision < revision:
            write = RecentWrite(revision, collection, self._clock())
            _put(self._documents, (tenant, document_id), write, self._max_entries)
        _put(self._collections, (tenant, collection), self._clock(), self._max_entries)

    def find(self, tenant: str, document_id: str) -> RecentWrite | None:
        """Return the last write to a document, if it is recent."""
        write = self._documents.get((tenant, document_id))
        return write if write is not None and self._is_recent(write.at) else None

    def knows_collection(self, tenant: str, collection: str) -> bool:
        """Tell whether something was written to a collection lately."""
        at = self._collections.get((tenant, collection))
        return at is not None and self._is_recent(at)

    def _is_recent(self, at: float) -> bool:
        return self._clock() - at <= self._keep_seconds


def _put(memory: OrderedDict[tuple[str, str], V], key: tuple[str, str], value: V, bound: int) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > bound:
        memory.popitem(last=False)
