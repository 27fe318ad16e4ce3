"""Answers from the caches of several agents, while documents change under them: real services on a real broker.

The index is the embedded one, or one that two retrievers share. Embedder and persistence are played by the test.
"""

import asyncio
import itertools
import re
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest
import pytest_asyncio
from nats.aio.client import Client
from qdrant_client import AsyncQdrantClient

from contracts import subjects
from contracts.chunks import ChunksEmbedded, EmbeddedChunk, chunk_id
from contracts.codec import encode
from contracts.facts import DocumentDeleted, DocumentIndexed
from contracts.messages import Message
from contracts.queries import Answer, AskQuestion
from contracts.reconciliation import FencesReply, FencesRequest, IndexFence
from contracts.retrieval import FenceReply, FenceRequest
from services.agent import app as agent
from services.agent.settings import AgentSettings
from services.gateway.answer_streams import AnswerStreams
from services.gateway.answers import Questions
from services.gateway.nats_answers import StoredAnswers
from services.gateway.seats import Seats
from services.retriever import app as retriever
from services.retriever.generations import Generations, IndexedModel, open_generations
from services.retriever.qdrant_server_catalogue import QdrantServerCatalogue
from services.retriever.settings import RetrieverSettings
from shared.messaging.requests import Requester
from shared.service import Service
from tests.contract.catalogues import LastingClient
from tests.integration.test_agent import serve_embedding
from tests.running import client_of, eventually, running_service
from tests.servers import NatsServer, provisioned_nats_server
from tests.unit.agent.library import DIMENSION, Library, vector_of

# The client's local mode says at every payload index that it has none.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect"),
    # To start and stop five services takes longer than any of these tests, which have tenants of their own.
    pytest.mark.asyncio(loop_scope="module"),
]
NAME: Final = "words"
MODEL: Final = IndexedModel(f"{NAME}@remote.{DIMENSION}", DIMENSION)
AGENTS: Final = 2
QUESTION: Final = "When did the harbour of Lindby open?"
ROUNDS: Final = 12


@dataclass
class Platform:
    """Two agents, each with its own memory, and the retrievers of one index."""

    client: Client
    requester: Requester
    questions: Questions
    services: list[Service]
    tenant: str = "acme"
    revisions: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    async def ask(self, text: str = QUESTION, **fields: Any) -> Answer:
        question = AskQuestion(tenant=self.tenant, query_id=uuid.uuid4().hex, question=text, **fields)
        return await self.questions.ask(question)

    async def ask_everybody(self, text: str = QUESTION, **fields: Any) -> list[Answer]:
        """Ask so often that every agent has its turn."""
        return await asyncio.gather(*(self.ask(text, **fields) for _ in range(4 * AGENTS)))

    async def warm(self, **fields: Any) -> Answer:
        """Ask until every agent answers from its memory."""

        async def everybody_knows() -> list[Answer]:
            answers = await self.ask_everybody(**fields)
            return answers if all(answer.cached for answer in answers) else []

        return (await eventually(everybody_knows, "every agent knows the answer"))[0]

    async def index(self, document_id: str, text: str, collection: str = "default") -> int:
        """Bring a document into the index, as embedder and persistence do, and wait until it is shown."""
        revision = next(self.revisions)
        chunk = EmbeddedChunk(
            ordinal=0,
            chunk_id=chunk_id(self.tenant, document_id, revision, 0),
            text=text,
            vector=vector_of(text).tobytes(),
        )
        await self._say(
            subjects.CHUNKS_EMBEDDED,
            ChunksEmbedded(
                tenant=self.tenant,
                document_id=document_id,
                revision=revision,
                collection=collection,
                batch=0,
                model=MODEL.fingerprint,
                dimension=DIMENSION,
                chunks=[chunk],
            ),
        )
        await self._worked_off("VECTORS", "retriever")
        await self._say(
            subjects.DOCUMENT_INDEXED,
            DocumentIndexed(
                tenant=self.tenant, document_id=document_id, revision=revision, collection=collection, chunks=1
            ),
        )
        await self._worked_off("FACTS", "retriever-cleanup")
        return revision

    async def delete(self, document_id: str) -> None:
        """Delete a document: when this returns, the gateway would have acknowledged it."""
        revision = next(self.revisions)
        floor = FenceRequest(tenant=self.tenant, document_id=document_id, floor=revision)
        await self.requester.ask(subjects.INDEX_FENCE, floor, FenceReply)
        await self._say(
            subjects.DOCUMENT_DELETED, DocumentDeleted(tenant=self.tenant, document_id=document_id, revision=revision)
        )

    async def delete_collection(self, name: str) -> None:
        """Delete a collection as the gateway does."""
        fence = IndexFence(tenant=self.tenant, collection=name, floor=next(self.revisions))
        await self.requester.ask(subjects.INDEX_FENCES, FencesRequest(fences=[fence]), FencesReply)

    async def _say(self, subject: str, message: Message) -> None:
        await self.client.jetstream().publish(subject, encode(message))

    async def _worked_off(self, stream: str, consumer: str) -> None:
        async def nothing_left() -> bool:
            info = await self.client.jetstream().consumer_info(stream, consumer)
            return not info.num_pending and not info.num_ack_pending

        await eventually(nothing_left, f"{consumer} has worked everything off")


def retriever_settings(server: NatsServer, data: Path, qdrant_url: str | None = None) -> RetrieverSettings:
    return RetrieverSettings(
        nats_url=server.url,
        drain_seconds=5,
        data_dir=data,
        embedding_model=NAME,
        embedding_dimension=DIMENSION,
        embedding_url="http://nowhere.invalid/v1",
        qdrant_url=qdrant_url,
    )


@asynccontextmanager
async def retrievers(kind: str, server: NatsServer, data: Path) -> AsyncIterator[list[Service]]:
    if kind == "edge":
        settings = retriever_settings(server, data)
        async with running_service("retriever", settings, retriever.build_lifespan(settings)) as service:
            yield [service]
        return
    client = LastingClient(":memory:")

    async def open_shared(_settings: RetrieverSettings) -> Generations:
        catalogue = QdrantServerCatalogue(lambda: client, prefix="test", configured=[MODEL.fingerprint])
        return await open_generations(catalogue, MODEL)

    settings = retriever_settings(server, data, "http://nowhere.invalid")
    async with AsyncExitStack() as stack:
        stack.enter_context(pytest.MonkeyPatch.context()).setattr(retriever, "open_indexes", open_shared)
        stack.push_async_callback(AsyncQdrantClient.close, client)
        yield [
            await stack.enter_async_context(running_service("retriever", settings, retriever.build_lifespan(settings)))
            for _ in range(2)
        ]


@pytest.fixture(scope="module")
def broker() -> Iterator[NatsServer]:
    with provisioned_nats_server() as server:
        yield server


@pytest_asyncio.fixture(params=["edge", "shared"], scope="module", loop_scope="module")
async def services(
    request: pytest.FixtureRequest, broker: NatsServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Platform]:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(client_of(broker.url))
        await serve_embedding(client, Library(model=MODEL.fingerprint).embed)
        services = await stack.enter_async_context(retrievers(request.param, broker, tmp_path_factory.mktemp("index")))
        settings = AgentSettings(nats_url=broker.url, drain_seconds=5)
        for _ in range(AGENTS):
            services.append(
                await stack.enter_async_context(running_service("agent", settings, agent.build_lifespan(settings)))
            )
        one = services[0]
        seats = Seats(64, "too many")
        streams = AnswerStreams(
            StoredAnswers(one.client),
            seats,
            timeout_seconds=10,
            heartbeat_seconds=5,
            listening_seconds=5,
            recheck_seconds=1,
        )
        questions = Questions(one.client, one.publisher, seats, streams, timeout_seconds=10, recheck_seconds=1)
        yield Platform(client, one.requester, questions, services)


@pytest.fixture
def platform(services: Platform, request: pytest.FixtureRequest) -> Platform:
    """The services, asked by a tenant that nobody else is."""
    return replace(services, tenant=re.sub("[^a-z]+", "-", request.node.name.lower()))


def cited(answer: Answer) -> set[str]:
    return {citation.document_id for citation in answer.citations}


async def test_an_answer_is_given_again_by_every_agent(platform: Platform) -> None:
    await platform.index("harbour", "The harbour of Lindby opened in 1887.")
    first = await platform.ask()
    again = await platform.warm()
    assert not first.cached
    assert again == first.model_copy(update={"cached": True})
    kept = [await service.health.checks["cache"]() for service in platform.services[-AGENTS:]]
    assert all(each["kind"] == "memory" and each["entries"] >= 1 for each in kept)


@pytest.mark.parametrize("collection", [None, "default"])
async def test_a_delete_that_was_acknowledged_is_in_no_answer(platform: Platform, collection: str | None) -> None:
    """INVARIANT: deleted is gone, from every cache of every agent, with the very next question."""
    await platform.index("harbour", "The harbour of Lindby opened in 1887.")
    assert cited(await platform.warm(collection=collection)) == {"harbour"}
    await platform.delete("harbour")
    for answer in await platform.ask_everybody(collection=collection):
        assert cited(answer) == set()
        assert "1887" not in answer.answer


@pytest.mark.parametrize("collection", [None, "towns"])
async def test_a_collection_that_was_deleted_is_in_no_answer(platform: Platform, collection: str | None) -> None:
    """INVARIANT: deleted is gone: one fence for all of its documents, and no fact of any of them yet."""
    await platform.index("harbour", "The harbour of Lindby opened in 1887.", "towns")
    assert cited(await platform.warm(collection=collection)) == {"harbour"}
    await platform.delete_collection("towns")
    assert [cited(answer) for answer in await platform.ask_everybody(collection=collection)] == [set()] * 4 * AGENTS


async def test_an_update_that_became_visible_is_in_the_next_answer(platform: Platform) -> None:
    await platform.index("harbour", "The harbour of Lindby opened in 1887.")
    await platform.warm()
    await platform.index("harbour", "The harbour of Lindby opened in 1999.")
    assert all("1999" in answer.answer for answer in await platform.ask_everybody())


async def test_a_document_that_moves_leaves_the_answers_of_its_collection(platform: Platform) -> None:
    """INVARIANT: no answer shows what no search shows any more; the message names the new collection alone."""
    await platform.index("harbour", "The harbour of Lindby opened in 1887.", "towns")
    assert cited(await platform.warm(collection="towns")) == {"harbour"}
    await platform.index("harbour", "The harbour of Lindby opened in 1887.", "ports")
    assert [cited(answer) for answer in await platform.ask_everybody(collection="towns")] == [set()] * 4 * AGENTS


async def test_a_change_in_another_collection_leaves_an_answer_alone(platform: Platform) -> None:
    await platform.index("harbour", "The harbour of Lindby opened in 1887.", "towns")
    await platform.warm(collection="towns")
    await platform.index("bakery", "The bakery of Ystad closes on Mondays.", "shops")
    await platform.delete("bakery")
    assert all(answer.cached for answer in await platform.ask_everybody(collection="towns"))


async def test_no_question_is_answered_from_what_was_deleted_before_it_was_asked(platform: Platform) -> None:
    """INVARIANT: deleted is gone, whatever is indexed, deleted and asked at the same time."""
    order, gone, writing = Random(7), set[str](), True

    async def write() -> None:
        for number in range(ROUNDS):
            name = f"d{number}"
            await platform.index(name, f"The harbour of Lindby opened in {1800 + number}.")
            if order.random() < 0.8:
                await platform.delete(name)
                gone.add(name)

    async def ask_on() -> int:
        hits = 0
        while writing:
            before = set(gone)
            answer = await platform.ask(collection=order.choice([None, "default"]))
            assert not cited(answer) & before, f"{cited(answer)} was answered from, {before} was deleted"
            hits += answer.cached
        return hits

    asking = [asyncio.create_task(ask_on()) for _ in range(4)]
    await write()
    writing = False
    assert sum(await asyncio.gather(*asking)) > 0, "the caches were never used"
