"""The persistence service on a real broker, and a producer, a parser and a retriever to speak with it."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg

from contracts import subjects
from contracts.codec import encode
from contracts.facts import ChunksIndexed, DocumentParsed
from contracts.messages import Fact, Message
from contracts.retrieval import FenceReply
from services.persistence.app import build_lifespan
from services.persistence.settings import PersistenceSettings
from shared.messaging.broker import settle
from shared.service import Service
from tests.running import client_of, eventually, running_service, stored
from tests.servers import NatsServer

TENANT = "acme"
CHUNKS_PER_BATCH = 10
Prepare = Callable[[Service], None]


@dataclass
class Stand:
    """A running persistence service and a client of its broker."""

    service: Service
    client: Client

    async def ingest(self, headers: dict[str, str] | None = None, **fields: Any) -> int:
        """Publish an ingestion message; return its revision."""
        return await self.ingest_bytes(json.dumps(fields).encode(), headers)

    async def ingest_bytes(self, payload: bytes, headers: dict[str, str] | None = None) -> int:
        ack = await self.client.jetstream().publish(subjects.ingest(TENANT), payload, headers=headers)
        return ack.seq

    async def parsed(self, document_id: str, revision: int, batches: int) -> None:
        """Say what the parser says."""
        fact = DocumentParsed(
            tenant=TENANT,
            document_id=document_id,
            revision=revision,
            batches=batches,
            chunks=batches * CHUNKS_PER_BATCH,
            characters=100,
            media_type="text/plain",
        )
        await self.publish(subjects.DOCUMENT_PARSED, fact)

    async def batch_indexed(self, document_id: str, revision: int, batch: int) -> None:
        """Say what the retriever says."""
        fact = ChunksIndexed(
            tenant=TENANT, document_id=document_id, revision=revision, batch=batch, chunks=CHUNKS_PER_BATCH
        )
        await self.publish(subjects.CHUNKS_INDEXED, fact)

    async def publish(self, subject: str, message: Message, **headers: str) -> None:
        fields = {subjects.HEADER_TENANT: TENANT, **headers}
        await self.client.jetstream().publish(subject, encode(message), headers=fields)

    async def index_whole(self, document_id: str, **fields: Any) -> int:
        """Bring a document with one batch to its end; return its revision."""
        revision = await self.ingest(id=document_id, text="t", **fields)
        await self.parsed(document_id, revision, 1)
        await self.batch_indexed(document_id, revision, 0)
        await self.status_is(document_id, "indexed", revision)
        return revision

    async def ask(self, subject: str, **fields: Any) -> dict[str, Any]:
        """Return the reply to a read request, an error reply too."""
        reply = await self.client.request(subject, orjson.dumps({"tenant": TENANT, **fields}), timeout=5)
        found: dict[str, Any] = orjson.loads(reply.data)
        return found

    async def document(self, document_id: str) -> dict[str, Any]:
        return await self.ask(subjects.READ_DOCUMENT, document_id=document_id)

    async def status_is(self, document_id: str, status: str, revision: int) -> dict[str, Any]:
        """Wait until a document has come so far; return it."""

        async def reached() -> dict[str, Any]:
            found = await self.document(document_id)
            return found if (found.get("status"), found.get("revision")) == (status, revision) else {}

        return await eventually(reached, f"{document_id} is {status} as of revision {revision}")

    async def facts(self, kind: type[Fact], subject: str) -> list[Any]:
        """Return the facts of one kind that were published, in order."""
        messages = await stored(self.client, "FACTS")
        return [kind.model_validate_json(message.data) for message in messages if message.subject == subject]

    async def backlog(self, stream: str, consumer: str) -> int:
        info = await self.client.jetstream().consumer_info(stream, consumer)
        return (info.num_pending or 0) + (info.num_ack_pending or 0)

    async def worked_off(self) -> None:
        """Wait until the service has nothing left to do."""

        async def nothing_left() -> bool:
            consumers = {"INGEST": "persistence-intake", "FACTS": "persistence", "DEAD": "persistence-dead"}
            return not sum([await self.backlog(stream, name) for stream, name in consumers.items()])

        await eventually(nothing_left, "every message is acknowledged")


@asynccontextmanager
async def persistence(
    server: NatsServer, data: Path, prepare: Prepare = lambda _service: None, **settings: Any
) -> AsyncIterator[Stand]:
    """Run the service; `prepare` may change it before it binds its handlers."""
    chosen = PersistenceSettings(nats_url=server.url, data_dir=data, drain_seconds=5, **settings)
    opened = build_lifespan(chosen)

    @asynccontextmanager
    async def lifespan(service: Service) -> AsyncIterator[None]:
        prepare(service)
        async with opened(service):
            yield

    async with running_service("persistence", chosen, lifespan) as service, client_of(server.url) as client:
        yield Stand(service, client)


@asynccontextmanager
async def fence(stand: Stand, floors: dict[str, int]) -> AsyncIterator[None]:
    """Stand in for the retriever's fence; `floors` is what it was asked to hide."""

    async def hide(message: Msg) -> None:
        request = orjson.loads(message.data)
        floors[request["document_id"]] = request["floor"]
        await message.respond(encode(FenceReply(floor=request["floor"])))

    subscription = await stand.client.subscribe(subjects.INDEX_FENCE, cb=hide)
    await settle(stand.client)
    try:
        yield
    finally:
        await subscription.unsubscribe()
