"""Cuts a row of documents into requests."""

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from services.cli.sources import Broken, Document

# A request of this size is uploaded in a blink and is not worth splitting further; one larger document goes alone.
MAX_BATCH_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Batch:
    """Documents of one request; `key` makes the gateway take it once, however often it is sent."""

    documents: tuple[Document, ...]
    key: str = field(default_factory=lambda: uuid.uuid4().hex)

    def body(self) -> bytes:
        """Return the request's JSON."""
        return b'{"documents":[' + b",".join(document.body for document in self.documents) + b"]}"

    def halves(self) -> tuple["Batch", "Batch"]:
        """Return the same documents as two batches."""
        middle = len(self.documents) // 2
        return Batch(self.documents[:middle]), Batch(self.documents[middle:])


def make_batches(
    items: Iterable[Document | Broken], *, max_documents: int, max_bytes: int = MAX_BATCH_BYTES
) -> Iterator[Batch | Broken]:
    """Yield the documents in batches within both bounds; what is broken passes through."""
    waiting: list[Document] = []
    size = 0
    for item in items:
        if isinstance(item, Broken):
            yield item
            continue
        if waiting and (len(waiting) >= max_documents or size + len(item.body) > max_bytes):
            yield Batch(tuple(waiting))
            waiting, size = [], 0
        waiting.append(item)
        size += len(item.body)
    if waiting:
        yield Batch(tuple(waiting))
