"""What has become of the documents of one `rag ingest`."""

import time
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Failure:
    """A document that did not get in, and why."""

    document_id: str
    code: str
    message: str


@dataclass(slots=True)
class Tally:
    """Counts of documents; `total` is what was found, `accepted` what is on its way or through."""

    total: int
    accepted: int = 0
    indexed: int = 0
    failures: list[Failure] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    @property
    def failed(self) -> int:
        """Return the number of documents that did not get in."""
        return len(self.failures)

    @property
    def settled(self) -> int:
        """Return the number of documents of which nothing more will be heard."""
        return self.indexed + self.failed

    @property
    def seconds(self) -> float:
        """Return the time since the start."""
        return time.monotonic() - self.started

    @property
    def documents_per_second(self) -> float:
        """Return the rate at which documents became searchable."""
        return self.indexed / self.seconds if self.seconds > 0 else 0.0

    def fields(self) -> dict[str, Any]:
        """Return the counts for programs."""
        return {
            "total": self.total,
            "accepted": self.accepted,
            "indexed": self.indexed,
            "failed": self.failed,
            "seconds": round(self.seconds, 2),
            "documents_per_second": round(self.documents_per_second, 2),
        }
