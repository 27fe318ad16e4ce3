"""Streams, a publisher and an index in memory, for handlers that are run one side effect at a time."""

import types
from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Final

from contracts import subjects
from contracts.topology import CLEANUP, DEAD_LETTERS, INTAKE, PARSER, PERSISTENCE, RETRIEVER, Consumer
from services.retriever.index import ChunkPoint, Fence, Hit, IndexQuery
from shared.messaging.delivery import Delivery
from shared.messaging.publishing import Published, Publisher
from tests.memory_index import MemoryIndex

# The embedder is left out: the parser of the loop publishes what the embedder would, which changes no order.
CONSUMERS: Final = (PARSER, INTAKE, RETRIEVER, PERSISTENCE, CLEANUP, DEAD_LETTERS)


@types.coroutine
def gap() -> Generator[None, None, None]:
    """Stop where a process may die, or another one may come in between."""
    yield


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored message."""

    stream: str
    sequence: int
    subject: str
    headers: Mapping[str, str]
    payload: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """An entry on its way to one of its consumers."""

    consumer: Consumer
    entry: Entry
    deliveries: int = 0

    def again(self) -> "Message":
        """Return the message as it comes the next time."""
        return replace(self, deliveries=self.deliveries + 1)

    def delivery(self) -> Delivery:
        """Return what the handler is given."""
        return Delivery(
            subject=self.entry.subject,
            headers=self.entry.headers,
            stream=self.entry.stream,
            consumer=self.consumer.name,
            sequence=self.entry.sequence,
            deliveries=self.deliveries + 1,
            published_at=0.0,
            payload=self.entry.payload,
        )


class Streams:
    """Keeps every message, hands each to the consumers that the topology names, and knows which ids it has seen."""

    def __init__(self) -> None:
        self.entries: dict[str, list[Entry]] = {}
        self.waiting: list[Message] = []
        self._seen: dict[tuple[str, str], int] = {}

    def append(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> Published:
        """Store a message, unless one with its id was stored within the dedupe window."""
        consumers = [each for each in CONSUMERS if any(fnmatchcase(subject, one) for one in each.filter_subjects)]
        stream = consumers[0].stream if consumers else "FACTS"
        identity = (stream, headers.get(subjects.HEADER_MESSAGE_ID, ""))
        if identity[1] and identity in self._seen:
            return Published(self._seen[identity], duplicate=True)
        stored = self.entries.setdefault(stream, [])
        entry = Entry(stream, len(stored) + 1, subject, headers, payload)
        stored.append(entry)
        self._seen[identity] = entry.sequence
        self.waiting += [Message(consumer, entry) for consumer in consumers]
        return Published(entry.sequence, duplicate=False)

    def forget_ids(self) -> None:
        """Let the dedupe window pass: whatever is published again is a second message from now on."""
        self._seen.clear()


class StreamPublisher(Publisher):
    """Publishes into these streams, under the message ids of the real one."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    async def publish_bytes(
        self, subject: str, payload: bytes, *, tenant: str, message_id: str, headers: Mapping[str, str]
    ) -> Published:
        """Store the message; before it is a gap."""
        await gap()
        fields = {**headers, subjects.HEADER_TENANT: tenant, subjects.HEADER_MESSAGE_ID: message_id}
        return self._streams.append(subject, payload, fields)


class SteppedIndex(MemoryIndex):
    """The index in memory with a gap before every call."""

    async def upsert(self, points: Sequence[ChunkPoint]) -> None:
        await gap()
        await super().upsert(points)

    async def search(self, query: IndexQuery) -> list[Hit]:
        await gap()
        return await super().search(query)

    async def raise_fence(
        self, tenant: str, document_id: str, *, visible: int | None = None, floor: int | None = None
    ) -> None:
        await gap()
        await super().raise_fence(tenant, document_id, visible=visible, floor=floor)

    async def fences(self, tenant: str, document_ids: Collection[str]) -> dict[str, Fence]:
        await gap()
        return await super().fences(tenant, document_ids)

    async def collections_of(self, tenant: str, document_id: str) -> set[str]:
        await gap()
        return await super().collections_of(tenant, document_id)

    async def remove_revisions(self, tenant: str, document_id: str, below: int) -> None:
        await gap()
        await super().remove_revisions(tenant, document_id, below)

    async def remove_revision(self, tenant: str, document_id: str, revision: int) -> None:
        await gap()
        await super().remove_revision(tenant, document_id, revision)
