"""A parser that is given a message again after its payload was removed, as after a long stop."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from nats.aio.client import Client
from opentelemetry.metrics import NoOpMeter
from opentelemetry.trace import NoOpTracer

from contracts import subjects
from contracts.codec import decode
from contracts.facts import DocumentParsed
from contracts.messages import Message, now
from contracts.reads import ChunkCounts, DocumentQuery, DocumentView
from contracts.topology import Consumer
from services.parser import app as parser
from services.parser.settings import ParserSettings
from shared.errors import NotFound
from shared.messaging.broker import settle
from shared.messaging.consuming import Handler
from shared.messaging.delivery import Delivery
from shared.messaging.requests import respond
from shared.metrics import MessagingMetrics
from shared.service import Service
from tests.running import client_of, eventually, running_service, stored
from tests.servers import NatsServer

NAME = "payload-1"


@dataclass
class Persistence:
    """Knows of a revision what the facts say, `behind` so many looks late."""

    client: Client
    behind: int = 0
    looks: list[str] = field(default_factory=list)

    async def read(self, query: DocumentQuery, _deadline: float | None) -> Message:
        self.looks.append(query.document_id)
        facts = await stored(self.client, "FACTS")
        parsed = [decode(DocumentParsed, each.data) for each in facts if each.subject == subjects.DOCUMENT_PARSED]
        known = [fact for fact in parsed if fact.document_id == query.document_id]
        if not known:
            raise NotFound("there is no such document")
        seen = len(self.looks) > self.behind
        return DocumentView(
            id=query.document_id,
            collection="default",
            status="processing" if seen else "accepted",
            revision=known[-1].revision,
            chunks=ChunkCounts(total=known[-1].chunks if seen else 0),
            created_at=now(),
            updated_at=now(),
            metadata={},
        )


def again_after_all_is_done(service: Service) -> None:
    """Have the handler called once more with a message that is done, its payload removed."""
    consume = service.consume

    def twice(consumer: Consumer, model: Any, handler: Handler[Any], *, workers: int) -> None:
        async def call(message: Any, delivery: Delivery) -> None:
            await handler(message, delivery)
            for callback in delivery.after_ack:
                await callback()
            delivery.after_ack.clear()
            await handler(message, delivery)

        consume(consumer, model, call, workers=workers)

    service.consume = twice  # type: ignore[method-assign]


@asynccontextmanager
async def parsing(
    server: NatsServer, prepare: Callable[[Service], None] | None = None, behind: int = 0
) -> AsyncIterator[Persistence]:
    settings = ParserSettings(nats_url=server.url, drain_seconds=5, parser_workers=1)
    async with (
        client_of(server.url) as client,
        running_service("parser", settings, parser.build_lifespan(settings), prepare=prepare),
    ):
        persistence = Persistence(client, behind)
        metrics = MessagingMetrics(NoOpMeter("test"))
        await respond(
            client,
            NoOpTracer(),
            metrics,
            subjects.READ_DOCUMENT,
            DocumentQuery,
            persistence.read,
            queue="test",
            concurrency=4,
        )
        await settle(client)
        yield persistence


async def publish(client: Client, document_id: str, name: str = NAME) -> None:
    payload = {"id": document_id, "object": name, "media_type": "text/plain"}
    await client.jetstream().publish(subjects.ingest("acme"), json.dumps(payload).encode())


async def is_done(client: Client) -> bool:
    info = await client.jetstream().consumer_info("INGEST", "parser")
    return not info.num_pending and not info.num_ack_pending


async def test_a_message_that_comes_again_when_its_payload_is_gone_is_no_dead_letter(nats_broker: NatsServer) -> None:
    """INVARIANT: effects happen once. Taking the removed payload for a missing one would bury a good document."""
    async with parsing(nats_broker, again_after_all_is_done) as persistence:
        client = persistence.client
        await (await client.jetstream().object_store(subjects.UPLOADS_BUCKET)).put(NAME, b"Lock 1 of the canal.")
        await publish(client, "canal")
        await eventually(lambda: persistence.looks, "the parser asked what is known")
        await eventually(lambda: is_done(client), "the message is acknowledged")
        assert await stored(client, "DEAD") == []


async def test_what_persistence_has_not_heard_yet_is_asked_for_again(nats_broker: NatsServer) -> None:
    async with parsing(nats_broker, again_after_all_is_done, behind=1) as persistence:
        client = persistence.client
        await (await client.jetstream().object_store(subjects.UPLOADS_BUCKET)).put(NAME, b"Lock 1 of the canal.")
        await publish(client, "canal")
        await eventually(lambda: len(persistence.looks) > 1, "the parser asked again")
        await eventually(lambda: is_done(client), "the message is acknowledged")
        assert await stored(client, "DEAD") == []


async def test_a_payload_that_never_was_is_a_dead_letter(nats_broker: NatsServer) -> None:
    async with parsing(nats_broker) as persistence:
        await publish(persistence.client, "nothing")
        [letter] = await eventually(lambda: stored(persistence.client, "DEAD"), "the letter is there")
        assert (letter.headers or {})[subjects.HEADER_DEAD_CODE] == "object_missing"
        assert (letter.headers or {})[subjects.HEADER_DEAD_FIELD] == "object"
        await eventually(lambda: is_done(persistence.client), "the message is given up")


async def test_who_names_what_is_not_there_holds_up_nobody_else(nats_broker: NatsServer) -> None:
    """INVARIANT: nothing poisons the queue. Twelve in a row are no store that is away, for which all would wait."""
    async with parsing(nats_broker) as persistence:
        client = persistence.client
        await (await client.jetstream().object_store(subjects.UPLOADS_BUCKET)).put(NAME, b"Lock 1 of the canal.")
        for number in range(12):
            await publish(client, f"nothing-{number}", name=f"nothing-{number}")
        await publish(client, "canal")
        await eventually(lambda: stored(client, "FACTS"), "the good document is parsed", 5)
