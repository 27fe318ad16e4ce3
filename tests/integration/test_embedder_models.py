"""The embedder with two models, on a real broker and a real embedding server."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Literal

import numpy as np
import pytest

from contracts import subjects
from contracts.chunks import ChunksEmbedded, ChunksReady, ChunkText, chunk_id
from contracts.codec import decode, encode
from contracts.retrieval import EmbedReply, EmbedRequest
from services.embedder.app import build_lifespan
from services.embedder.settings import EmbedderSettings
from shared.errors import Rejected, Unavailable
from shared.service import Service
from tests.hashing_server import DIMENSION, HashingServer, embedding, hashing_server
from tests.running import eventually, running_service
from tests.servers import NatsServer

Lanes = Literal["both", "bulk", "interactive"]
PRESENT = f"present@remote.{DIMENSION}"
NEXT = f"next@remote.{DIMENSION}"


@pytest.fixture
def server() -> Iterator[HashingServer]:
    with hashing_server() as running:
        yield running


@asynccontextmanager
async def embedder(
    broker: NatsServer, server: HashingServer, next_dimension: int = DIMENSION, lanes: Lanes = "both"
) -> AsyncIterator[Service]:
    settings = EmbedderSettings(
        embedder_lanes=lanes,
        nats_url=broker.url,
        drain_seconds=5,
        embedding_model="present",
        embedding_dimension=DIMENSION,
        embedding_url=server.url,
        next_embedding_model="next",
        next_embedding_dimension=next_dimension,
        next_embedding_url=server.url,
    )
    async with running_service("embedder", settings, build_lifespan(settings)) as service:
        yield service


def ready() -> ChunksReady:
    texts = ["first words", "other words"]
    return ChunksReady(
        tenant="acme",
        document_id="d",
        revision=1,
        collection="default",
        batch=0,
        chunks=[
            ChunkText(ordinal=n, chunk_id=chunk_id("acme", "d", 1, n), text=text, prefix="Title\n\n")
            for n, text in enumerate(texts)
        ],
    )


async def embedded(service: Service) -> ChunksEmbedded:
    jetstream = service.client.jetstream()
    await jetstream.publish(subjects.CHUNKS_READY, encode(ready()))

    async def there() -> bool:
        return bool((await jetstream.stream_info("VECTORS")).state.messages)

    await eventually(there, "the batch is embedded")
    return decode(ChunksEmbedded, (await jetstream.get_msg("VECTORS", seq=1)).data or b"")


def is_unit_vector_of(raw: bytes | None, text: str) -> bool:
    wanted = embedding(text)
    return raw is not None and np.allclose(np.frombuffer(raw, "<f4"), wanted / np.linalg.norm(wanted), atol=1e-6)


async def test_a_batch_carries_the_vectors_of_both_models(nats_broker: NatsServer, server: HashingServer) -> None:
    async with embedder(nats_broker, server) as service:
        batch = await embedded(service)

    assert (batch.model, batch.next_model) == (PRESENT, NEXT)
    for chunk in batch.chunks:
        assert is_unit_vector_of(chunk.vector, f"Title {chunk.text}")
        assert is_unit_vector_of(chunk.next_vector, f"Title {chunk.text}")


async def test_a_next_model_that_fails_holds_up_nothing(nats_broker: NatsServer, server: HashingServer) -> None:
    async with embedder(nats_broker, server, next_dimension=DIMENSION - 1) as service:
        batch = await embedded(service)

    assert (batch.model, batch.next_model) == (PRESENT, None)
    assert [chunk.next_vector for chunk in batch.chunks] == [None, None]


@pytest.mark.parametrize(("wanted", "answered"), [(None, PRESENT), (PRESENT, PRESENT), (NEXT, NEXT)])
@pytest.mark.parametrize(("kind", "bulk"), [("query", False), ("passage", False), ("passage", True)])
async def test_a_request_is_answered_by_the_model_it_names(
    nats_broker: NatsServer, server: HashingServer, wanted: str | None, answered: str, kind: str, bulk: bool
) -> None:
    async with embedder(nats_broker, server) as service:
        request = EmbedRequest.model_validate({"texts": ["a", "b"], "model": wanted, "kind": kind, "bulk": bulk})
        reply = await service.requester.ask(subjects.EMBED_QUERY, request, EmbedReply)

    assert (reply.model, len(reply.vectors)) == (answered, 2)
    assert is_unit_vector_of(reply.vectors[1], "b")


async def test_a_model_that_is_not_there_is_refused(nats_broker: NatsServer, server: HashingServer) -> None:
    async with embedder(nats_broker, server) as service:
        request = EmbedRequest(texts=["a"], model="third@remote.8")
        with pytest.raises(Unavailable, match=r"no model third@remote\.8") as refused:
            await service.requester.ask(subjects.EMBED_QUERY, request, EmbedReply)
    assert refused.value.error_code == "model_mismatch"


async def test_whoever_introduces_a_model_reads_that_its_dimension_is_wrong(
    nats_broker: NatsServer, server: HashingServer
) -> None:
    async with embedder(nats_broker, server, next_dimension=8) as service:
        request = EmbedRequest(texts=["a"], kind="passage", model="next@remote.8", bulk=True)
        with pytest.raises(Rejected, match="check the model's dimension"):
            await service.requester.ask(subjects.EMBED_QUERY, request, EmbedReply)
        with pytest.raises(Unavailable, match="check the model's dimension"):
            await service.requester.ask(subjects.EMBED_QUERY, request.model_copy(update={"bulk": False}), EmbedReply)


async def test_lanes_in_processes_of_their_own_keep_out_of_each_others_work(
    nats_broker: NatsServer, server: HashingServer
) -> None:
    request = EmbedRequest(texts=["a"], kind="query")
    async with embedder(nats_broker, server, lanes="interactive") as questions:
        assert (await questions.requester.ask(subjects.EMBED_QUERY, request, EmbedReply)).model == PRESENT
        assert questions.health.ready
        async with embedder(nats_broker, server, lanes="bulk") as documents:
            assert len((await embedded(documents)).chunks) == 2
        assert questions.health.last_fetch == {}

    async with embedder(nats_broker, server, lanes="bulk") as documents:
        with pytest.raises(Unavailable, match="nobody answers"):
            await documents.requester.ask(subjects.EMBED_QUERY, request, EmbedReply)
