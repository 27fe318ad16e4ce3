"""A gateway in the test's own event loop, a real broker, and stand-ins for the services behind it.

The stand-ins speak the real protocol over the broker and keep real state; only what they compute is made up.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

import httpx
import nats
from fastapi import FastAPI
from nats.aio.client import Client
from nats.js import JetStreamContext
from opentelemetry.metrics import NoOpMeter
from opentelemetry.trace import NoOpTracer

from contracts import subjects
from contracts.codec import decode, encode
from contracts.documents import IngestMessage
from contracts.facts import SUBJECT_OF_FACT, DocumentIndexed
from contracts.messages import Fact, Message, now
from contracts.queries import AnswerEvent, AskQuestion
from contracts.reads import (
    ChunkCounts,
    CollectionList,
    CollectionsQuery,
    CollectionView,
    DocumentListQuery,
    DocumentPage,
    DocumentQuery,
    DocumentStatus,
    DocumentView,
    IdempotencyQuery,
    IdempotencyRecord,
    IdempotencyReply,
)
from contracts.reconciliation import FencesReply, FencesRequest, IndexFence
from contracts.retrieval import (
    FenceReply,
    FenceRequest,
    PassagesReply,
    PassagesRequest,
    RetrievedChunk,
    RetrieveReply,
    RetrieveRequest,
)
from services.gateway.app import build_app
from services.gateway.gateway import Gateway
from services.gateway.settings import GatewaySettings
from shared.errors import NotFound
from shared.messaging.broker import settle
from shared.messaging.requests import respond
from shared.metrics import MessagingMetrics
from shared.service import Service
from tests.nats_cluster import NatsCluster
from tests.running import eventually
from tests.servers import NatsServer

TENANT = "default"


@dataclass
class Persistence:
    """Records what is on INGEST while `recording`, and answers reads from it."""

    jetstream: JetStreamContext
    documents: dict[str, DocumentView] = field(default_factory=dict)
    keys: dict[str, IdempotencyRecord] = field(default_factory=dict)
    messages: list[IngestMessage] = field(default_factory=list)
    recording: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: bool = False

    async def intake(self) -> None:
        subscription = await self.jetstream.pull_subscribe_bind("persistence-intake", stream="INGEST")
        while not self.stopped:
            with suppress(TimeoutError):
                for message in await subscription.fetch(32, timeout=0.5):
                    await self.recording.wait()
                    headers, sequence = message.headers or {}, message.metadata.sequence.stream
                    self.record(sequence, message.data, headers.get(subjects.HEADER_IDEMPOTENCY))
                    await message.ack()

    def record(self, revision: int, payload: bytes, key: str | None) -> None:
        message = decode(IngestMessage, payload)
        self.messages.append(message)
        if message.op == "delete_collection":
            self.documents = {
                key: view for key, view in self.documents.items() if view.collection != message.collection
            }
            return
        document_id = message.derived_id()
        self.put(document_id, revision, "deleted" if message.op == "delete" else "accepted", message)
        if key is not None:
            digest = hashlib.sha256(payload).hexdigest()
            self.keys[key] = IdempotencyRecord(
                key=key, document_id=document_id, collection=message.collection, revision=revision, digest=digest
            )

    def put(
        self, document_id: str, revision: int, status: DocumentStatus, message: IngestMessage | None = None
    ) -> DocumentView:
        known = self.documents.get(document_id)
        view = DocumentView(
            id=document_id,
            collection=message.collection if message else known.collection if known else "default",
            title=message.title if message else known.title if known else None,
            uri=None,
            status=status,
            revision=revision,
            chunks=ChunkCounts(total=1, indexed=1) if status == "indexed" else ChunkCounts(),
            error=None,
            created_at=known.created_at if known else now(),
            updated_at=now(),
            metadata=message.metadata if message else {},
        )
        self.documents[document_id] = view
        return view

    async def read(self, query: DocumentQuery, _deadline: float | None) -> Message:
        if query.document_id not in self.documents:
            raise NotFound("there is no such document")
        return self.documents[query.document_id]

    async def page(self, query: DocumentListQuery, _deadline: float | None) -> Message:
        items = sorted(self.documents.values(), key=lambda view: view.id)
        items = [view for view in items if query.collection in (None, view.collection)]
        items = [view for view in items if query.status in (None, view.status) and view.id > (query.cursor or "")]
        items = [view for view in items if (query.title or "").lower() in (view.title or view.id).lower()]
        items = [view for view in items if query.ids is None or view.id in query.ids]
        if query.order == "newest":
            items.sort(key=lambda view: view.created_at, reverse=True)
        more = len(items) > query.limit
        return DocumentPage(items=items[: query.limit], next_cursor=items[query.limit - 1].id if more else None)

    async def collections(self, query: CollectionsQuery, _deadline: float | None) -> Message:
        names = {view.collection for view in self.documents.values()} & ({query.name} if query.name else {*self.names})
        if query.name and not names:
            raise NotFound("there is no such collection")
        return CollectionList(items=[CollectionView(name=name, documents=1, chunks=1, by_status={}) for name in names])

    @property
    def names(self) -> set[str]:
        return {view.collection for view in self.documents.values()}

    async def idempotency(self, query: IdempotencyQuery, _deadline: float | None) -> Message:
        return IdempotencyReply(records=[self.keys[key] for key in query.keys if key in self.keys])


@dataclass
class Retriever:
    """Finds what the test put there, and remembers the fences."""

    hits: list[RetrievedChunk] = field(default_factory=list)
    requests: list[RetrieveRequest] = field(default_factory=list)
    fences: list[FenceRequest] = field(default_factory=list)
    collection_fences: list[IndexFence] = field(default_factory=list)
    reranked: bool = True
    failure: Exception | None = None
    texts: dict[str, list[RetrievedChunk]] = field(default_factory=dict)
    readings: list[PassagesRequest] = field(default_factory=list)

    async def passages(self, request: PassagesRequest, _deadline: float | None) -> Message:
        self.readings.append(request)
        if request.document_id not in self.texts:
            raise NotFound("the document is not in the index")
        [first, *rest] = self.texts[request.document_id][request.first_ordinal :]
        return PassagesReply(passages=[first], next_ordinal=first.ordinal + 1 if rest else None)

    async def retrieve(self, request: RetrieveRequest, _deadline: float | None) -> Message:
        self.requests.append(request)
        if self.failure:
            raise self.failure
        reranked = self.reranked if request.rerank else None
        return RetrieveReply(hits=self.hits, took_ms={"embed": 1.5, "search": 0.5}, model="m@1", reranked=reranked)

    async def fence(self, request: FenceRequest, _deadline: float | None) -> Message:
        if self.failure:
            raise self.failure
        self.fences.append(request)
        return FenceReply(floor=request.floor)

    async def lift(self, request: FencesRequest, _deadline: float | None) -> Message:
        if self.failure:
            raise self.failure
        self.collection_fences += request.fences
        return FencesReply(behind=[])


@dataclass
class Agent:
    """Answers every question with the events that the test put there."""

    client: Client
    events: list[AnswerEvent] = field(default_factory=list)
    questions: list[tuple[AskQuestion, dict[str, str]]] = field(default_factory=list)
    stopped: bool = False

    async def work(self) -> None:
        jetstream = self.client.jetstream()
        subscription = await jetstream.pull_subscribe_bind("agent", stream="QUERIES")
        while not self.stopped:
            with suppress(TimeoutError):
                for message in await subscription.fetch(1, timeout=0.5):
                    question = decode(AskQuestion, message.data)
                    self.questions.append((question, dict(message.headers or {})))
                    for event in self.events:
                        await self.tell(question.query_id, event, message.headers)
                    await message.ack()

    async def tell(
        self,
        query_id: str,
        event: AnswerEvent,
        headers: Mapping[str, str] | None = None,
        *,
        message_id: str | None = None,
    ) -> None:
        """Publish one event of an answer, as the agent does; `headers` are the question's."""
        kept = {subjects.HEADER_TENANT: TENANT}
        for name in (subjects.HEADER_TENANT, subjects.HEADER_CORRELATION_ID, subjects.HEADER_DEADLINE):
            if headers and name in headers:
                kept[name] = headers[name]
        if message_id is not None:
            kept[subjects.HEADER_MESSAGE_ID] = message_id
        told = event.model_copy(update={"query_id": query_id})
        await self.client.jetstream().publish(subjects.answers(query_id), encode(told), headers=kept)


@dataclass
class Stand:
    """Everything a gateway test touches."""

    broker: NatsServer
    service: Service
    http: httpx.AsyncClient
    client: Client
    persistence: Persistence
    retriever: Retriever
    agent: Agent
    gateway: Gateway

    @property
    def app(self) -> FastAPI:
        """Return the gateway's app, to be served over real connections."""
        transport = self.http._transport
        assert isinstance(transport, httpx.ASGITransport)
        assert isinstance(transport.app, FastAPI)
        return transport.app

    async def publish_fact(self, fact: Fact) -> None:
        """Publish a fact as the service that knows it would."""
        await self.client.jetstream().publish(SUBJECT_OF_FACT[type(fact)], encode(fact))

    async def index(self, document_id: str, revision: int) -> None:
        """Bring a document to `indexed`, as the services behind the gateway would."""
        self.persistence.put(document_id, revision, "indexed")
        fact = DocumentIndexed(
            tenant=TENANT, document_id=document_id, revision=revision, collection="default", chunks=1
        )
        await self.publish_fact(fact)

    async def ingested(self) -> int:
        """Return how many messages INGEST took so far."""
        return (await self.client.jetstream().stream_info("INGEST")).state.last_seq


def chunk(document_id: str = "a", text: str = "Water boils at 100 degrees.", **fields: object) -> RetrievedChunk:
    """Return a hit."""
    values = {"chunk_id": f"{document_id}-0", "collection": "default", "revision": 1, "ordinal": 0, "score": 0.5}
    return RetrievedChunk.model_validate({**values, "document_id": document_id, "text": text, **fields})


def document(**fields: object) -> dict[str, object]:
    """Return a document as a caller sends it."""
    return {"id": "a", "text": "Water boils at 100 degrees.", **fields}


@asynccontextmanager
async def running_stand(broker: NatsServer, **settings: object) -> AsyncIterator[Stand]:
    """Run a gateway with all its stand-ins until the block ends."""
    async with running_gateway(broker, **settings) as (service, http, gateway), running_parts(broker) as parts:
        client, persistence, retriever, agent = parts
        yield Stand(broker, service, http, client, persistence, retriever, agent, gateway)


@asynccontextmanager
async def running_gateway(
    broker: NatsServer | NatsCluster, **settings: object
) -> AsyncIterator[tuple[Service, httpx.AsyncClient, Gateway]]:
    """Run a gateway alone; it is ready when the block begins."""
    configured = GatewaySettings.model_validate({"nats_url": broker.url, "instance": "gateway-1", **settings})
    service = Service("gateway", configured)
    app = build_app(service, configured)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://rag") as http:
        await eventually(lambda: service.health.waiting_for is None, "the gateway is ready")
        yield service, http, app.state.gateway


@asynccontextmanager
async def running_parts(broker: NatsServer) -> AsyncIterator[tuple[Client, Persistence, Retriever, Agent]]:
    """Run the stand-ins alone."""
    client = await nats.connect(broker.url, max_reconnect_attempts=-1)
    persistence, retriever, agent = Persistence(client.jetstream()), Retriever(), Agent(client)
    persistence.recording.set()
    await _answer(client, persistence, retriever)
    tasks = [asyncio.create_task(persistence.intake()), asyncio.create_task(agent.work())]
    try:
        yield client, persistence, retriever, agent
    finally:
        # A fetch may swallow its cancellation, so the loops have a flag as well.
        persistence.stopped = agent.stopped = True
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        await client.close()
        if failures := [error for error in ended if isinstance(error, Exception)]:
            raise ExceptionGroup("a stand-in failed", failures)


async def _answer(client: Client, persistence: Persistence, retriever: Retriever) -> None:
    metrics, tracer = MessagingMetrics(NoOpMeter("test")), NoOpTracer()
    serve = partial(respond, client, tracer, metrics, queue="test", concurrency=16)
    await serve(subjects.READ_DOCUMENT, DocumentQuery, persistence.read)
    await serve(subjects.READ_DOCUMENTS, DocumentListQuery, persistence.page)
    await serve(subjects.READ_COLLECTIONS, CollectionsQuery, persistence.collections)
    await serve(subjects.READ_IDEMPOTENCY, IdempotencyQuery, persistence.idempotency)
    await serve(subjects.RETRIEVE, RetrieveRequest, retriever.retrieve)
    await serve(subjects.READ_PASSAGES, PassagesRequest, retriever.passages)
    await serve(subjects.INDEX_FENCE, FenceRequest, retriever.fence)
    await serve(subjects.INDEX_FENCES, FencesRequest, retriever.lift)
    await settle(client)
