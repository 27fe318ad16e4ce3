"""Parser, embedder and retriever on a real broker, every handler called twice with every message."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from contracts import subjects
from contracts.chunks import ChunksEmbedded, ChunksReady
from contracts.codec import decode, encode
from contracts.facts import ChunksIndexed, DocumentDeleted, DocumentIndexed, DocumentParsed, DocumentSuperseded
from contracts.messages import Message
from contracts.retrieval import (
    FenceReply,
    FenceRequest,
    RetrieveReply,
    RetrieveRequest,
)
from services.embedder import app as embedder
from services.embedder.settings import EmbedderSettings
from services.parser import app as parser
from services.parser.settings import ParserSettings
from services.retriever import app as retriever
from services.retriever.settings import RetrieverSettings
from shared import models
from shared.messaging.requests import Requester
from shared.service import Lifespan, Service
from shared.settings import PlatformSettings
from tests.running import client_of, eventually, everything_twice, running_service, stored
from tests.servers import NatsServer

TENANT = "acme"
TEXT = "\n\n".join((f"Lock {n} of the canal lifts ships by {n + 3} metres. " * 12).strip() for n in range(40))


@dataclass
class Pipeline:
    """The three services, a producer's client and a requester; persistence is played by the test."""

    client: Client
    requester: Requester
    retriever: Service

    async def ingest(self, **fields: Any) -> int:
        ack = await self.client.jetstream().publish(subjects.ingest(TENANT), json.dumps(fields).encode())
        return int(ack.seq)

    async def say(self, subject: str, fact: Message) -> None:
        await self.client.jetstream().publish(subject, encode(fact))

    async def facts(self, kind: type[Message], subject: str) -> list[Any]:
        return [
            decode(kind, message.data) for message in await stored(self.client, "FACTS") if message.subject == subject
        ]

    async def chunks(self) -> int:
        return int((await self.retriever.health.report()).details["index"]["chunks"])

    async def search(self, query: str, **fields: Any) -> list[str]:
        request = RetrieveRequest(tenant=TENANT, query=query, **fields)
        return [hit.text for hit in (await self.requester.ask(subjects.RETRIEVE, request, RetrieveReply)).hits]

    async def worked_off(self) -> None:
        async def nothing_left() -> bool:
            left = 0
            for stream, consumer in (
                ("INGEST", "parser"),
                ("CHUNKS", "embedder"),
                ("VECTORS", "retriever"),
                ("FACTS", "retriever-cleanup"),
            ):
                info = await self.client.jetstream().consumer_info(stream, consumer)
                left += (info.num_pending or 0) + (info.num_ack_pending or 0)
            return left == 0

        await eventually(nothing_left, "every message is acknowledged", seconds=30)


@asynccontextmanager
async def pipeline(server: NatsServer, data: Path) -> AsyncIterator[Pipeline]:
    parsing = ParserSettings(nats_url=server.url, drain_seconds=5, parser_workers=1)
    embedding = EmbedderSettings(nats_url=server.url, drain_seconds=5)
    retrieving = RetrieverSettings(nats_url=server.url, drain_seconds=5, data_dir=data)
    parts: list[tuple[str, PlatformSettings, Lifespan]] = [
        ("parser", parsing, parser.build_lifespan(parsing)),
        ("embedder", embedding, embedder.build_lifespan(embedding)),
        ("retriever", retrieving, retriever.build_lifespan(retrieving)),
    ]
    async with AsyncExitStack() as stack:
        services: list[Service] = [
            await stack.enter_async_context(running_service(name, settings, lifespan, prepare=everything_twice))
            for name, settings, lifespan in parts
        ]
        client = await stack.enter_async_context(client_of(server.url))
        yield Pipeline(client, services[0].requester, services[2])


@pytest.fixture
async def running(nats_broker: NatsServer, tmp_path: Path) -> AsyncIterator[Pipeline]:
    settings = EmbedderSettings()
    try:
        models.locate(settings.embedding_model, settings.models_dir)
    except models.ModelError as error:
        pytest.skip(str(error))
    async with pipeline(nats_broker, tmp_path) as found:
        yield found


async def test_each_message_handled_twice_leaves_every_effect_once(running: Pipeline) -> None:
    """INVARIANT: effects happen once. Ids that do not follow from document, revision and place double them."""
    revision = await running.ingest(id="canal", title="Canal", text=TEXT, metadata={"country": "nl"})
    await running.worked_off()
    parsed = await running.facts(DocumentParsed, subjects.DOCUMENT_PARSED)
    assert [(fact.document_id, fact.revision) for fact in parsed] == [("canal", revision)]
    indexed = await running.facts(ChunksIndexed, subjects.CHUNKS_INDEXED)
    assert sorted(fact.batch for fact in indexed) == list(range(parsed[0].batches))
    assert sum(fact.chunks for fact in indexed) == parsed[0].chunks == await running.chunks()
    for stream in ("CHUNKS", "VECTORS"):
        assert (await running.client.jetstream().stream_info(stream)).state.messages == 0
    hits = await running.search("how far does a lock lift a ship?", top_k=100)
    assert len(hits) == len(set(hits)) == parsed[0].chunks
    assert all(hit in TEXT for hit in hits)
    assert await stored(running.client, "DEAD") == []


async def test_an_update_shows_one_revision_at_a_time_and_leaves_the_other_behind(running: Pipeline) -> None:
    """INVARIANT: the later write wins, and no result mixes two revisions."""
    first = await running.ingest(id="door", text="The door opens with the word heron.")
    await running.worked_off()
    await running.say(
        subjects.DOCUMENT_INDEXED,
        DocumentIndexed(tenant=TENANT, document_id="door", revision=first, collection="default", chunks=1),
    )
    await running.worked_off()
    second = await running.ingest(id="door", text="The door opens with the word magpie.")
    await running.worked_off()
    assert await running.chunks() == 2
    assert await running.search("door") == ["The door opens with the word heron."], "until the update is complete"
    await running.say(
        subjects.DOCUMENT_INDEXED,
        DocumentIndexed(tenant=TENANT, document_id="door", revision=second, collection="default", chunks=1),
    )
    await running.worked_off()
    assert await running.search("door") == ["The door opens with the word magpie."]
    assert await running.chunks() == 1


async def test_a_delete_hides_at_once_and_removes_what_comes_late(running: Pipeline) -> None:
    """INVARIANT: deleted is gone, late batches included. Cleaning up once, on the delete alone, would leave them."""
    revision = await running.ingest(id="safe", text="The safe holds the crown.")
    await running.worked_off()
    late = ChunksEmbedded.model_validate((await embedded_again(running, revision)).model_dump())
    floor = FenceRequest(tenant=TENANT, document_id="safe", floor=revision + 1)
    assert (await running.requester.ask(subjects.INDEX_FENCE, floor, FenceReply)).floor == revision + 1
    assert await running.search("crown") == []
    await running.say(
        subjects.DOCUMENT_DELETED, DocumentDeleted(tenant=TENANT, document_id="safe", revision=revision + 1)
    )
    await running.worked_off()
    assert await running.chunks() == 0
    await running.say(subjects.CHUNKS_EMBEDDED, late)
    await running.worked_off()
    assert await running.search("crown") == []
    assert await running.chunks() == 0


async def test_a_superseded_revision_that_still_answers_stays_until_its_successor_is_complete(
    running: Pipeline,
) -> None:
    revision = await running.ingest(id="map", text="The map shows the harbour.")
    await running.worked_off()
    indexed = DocumentIndexed(tenant=TENANT, document_id="map", revision=revision, collection="default", chunks=1)
    await running.say(subjects.DOCUMENT_INDEXED, indexed)
    superseded = DocumentSuperseded(tenant=TENANT, document_id="map", revision=revision, current_revision=revision + 5)
    await running.worked_off()
    await running.say(subjects.DOCUMENT_SUPERSEDED, superseded)
    await running.worked_off()
    assert await running.search("map") == ["The map shows the harbour."]


async def test_filters_and_collections_bound_a_search(running: Pipeline) -> None:
    for year in (2024, 2025, 2026):
        await running.ingest(id=f"y{year}", collection="years", text=f"Report of {year}.", metadata={"year": year})
    await running.ingest(id="other", collection="else", text="Report of nothing.")
    await running.worked_off()
    assert len(await running.search("report")) == 4
    assert len(await running.search("report", collection="years")) == 3
    recent = await running.search("report", filter={"year": {"gte": 2025}})
    assert sorted(recent) == ["Report of 2025.", "Report of 2026."]


async def embedded_again(running: Pipeline, revision: int) -> ChunksEmbedded:
    """Have the embedder work on a batch of the document once more and take what it publishes."""
    inbox = await running.client.subscribe(subjects.CHUNKS_EMBEDDED)
    ready = ChunksReady.model_validate(
        {
            "tenant": TENANT,
            "document_id": "safe",
            "revision": revision,
            "collection": "default",
            "batch": 9,
            "chunks": [
                {"ordinal": 9, "chunk_id": "0e8c7c1e-8b53-5a0a-9f43-2f6c3d0d8f11", "text": "The crown, once more."}
            ],
        }
    )
    await running.say(subjects.CHUNKS_READY, ready)
    message = await asyncio.wait_for(inbox.next_msg(timeout=20), 20)
    await running.worked_off()
    return decode(ChunksEmbedded, message.data)
