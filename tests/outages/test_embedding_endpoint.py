"""The embedding endpoint refuses, freezes, breaks off, fails or answers garbage: loading waits, queries are told."""

import json
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from contracts import subjects, topology
from contracts.chunks import ChunksReady, ChunkText, chunk_id
from contracts.codec import encode
from contracts.retrieval import EmbedReply, EmbedRequest
from services.embedder.app import build_lifespan
from services.embedder.handlers import EmbedderHandlers
from services.embedder.settings import EmbedderSettings
from shared.errors import DeadlineExpired, Unavailable
from shared.messaging import policy, reliability
from shared.messaging.delivery import Delivery
from shared.service import Service
from tests.hashing_server import DIMENSION, HashingServer, embedding, hashing_server
from tests.running import eventually, running_service, stored
from tests.servers import NatsServer
from tests.tcp_proxy import Fault, TcpProxy, tcp_proxy

log = logging.getLogger(__name__)
TIMEOUT_SECONDS = 0.3
DEADLINE_SECONDS = 1.0
BATCHES = 4
# More than a message with a fault of ours gets.
TRIES = BATCHES * 7


@dataclass
class Stand:
    """An embedder whose endpoint is behind a proxy, and how often it tried what."""

    service: Service
    server: HashingServer
    proxy: TcpProxy
    tries: Counter[str] = field(default_factory=Counter)
    deliveries: Counter[str] = field(default_factory=Counter)

    async def load(self, *texts: str) -> None:
        for text in texts:
            await self.service.client.jetstream().publish(subjects.CHUNKS_READY, encode(batch_of(text)))

    async def query(self) -> EmbedReply:
        request = EmbedRequest(texts=["a query"], kind="query")
        until = time.time() + DEADLINE_SECONDS
        return await self.service.requester.ask(subjects.EMBED_QUERY, request, EmbedReply, deadline=until)

    async def embedded(self) -> int:
        return (await self.service.client.jetstream().stream_info("VECTORS")).state.messages

    async def dead(self) -> list[Any]:
        return await stored(self.service.client, "DEAD")

    async def have_embedded(self, count: int) -> bool:
        return await self.embedded() == count


@pytest.fixture
async def stand(nats_broker: NatsServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stand]:
    # Short delays: their number is what counts here.
    monkeypatch.setattr(policy, "FIRST_DELAY_SECONDS", 0.02)
    monkeypatch.setattr(policy, "LONGEST_DELAY_SECONDS", 0.05)
    monkeypatch.setattr(Unavailable, "default_retry_after_seconds", 0.02)
    async with running_stand(nats_broker, monkeypatch) as running:
        yield running


@asynccontextmanager
async def running_stand(broker: NatsServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stand]:
    with hashing_server() as server:
        async with tcp_proxy(int(server.url.split(":")[2].partition("/")[0])) as proxy:
            settings = EmbedderSettings(
                nats_url=broker.url,
                drain_seconds=5,
                embedding_model="remote",
                embedding_dimension=DIMENSION,
                embedding_url=f"http://127.0.0.1:{proxy.port}/v1",
                embedding_timeout_seconds=TIMEOUT_SECONDS,
            )
            tries, deliveries = Counter[str](), Counter[str]()
            work = EmbedderHandlers.on_chunks_ready

            async def counted(self: EmbedderHandlers, message: ChunksReady, delivery: Delivery) -> None:
                tries[message.document_id] += 1
                deliveries[message.document_id] = delivery.deliveries
                await work(self, message, delivery)

            monkeypatch.setattr(EmbedderHandlers, "on_chunks_ready", counted)
            async with running_service("embedder", settings, build_lifespan(settings)) as service:
                yield Stand(service, server, proxy, tries, deliveries)


def batch_of(text: str) -> ChunksReady:
    chunk = ChunkText(ordinal=0, chunk_id=chunk_id("acme", text, 1, 0), text=text, prefix="")
    return ChunksReady(tenant="acme", document_id=text, revision=1, collection="default", batch=0, chunks=[chunk])


Spoil = Callable[[Stand], Awaitable[None]]


async def refused(stand: Stand) -> None:
    await stand.proxy.go_away()


def on_the_line(fault: Fault) -> Spoil:
    async def spoil(stand: Stand) -> None:
        stand.proxy.spoil(to_client=fault)
        stand.proxy.cut()

    return spoil


def answering(status: int, body: str, **headers: str) -> Spoil:
    async def spoil(stand: Stand) -> None:
        stand.server.instead = lambda _: (
            status,
            {name.replace("_", "-"): value for name, value in headers.items()},
            body.encode(),
        )

    return spoil


def with_vectors(change: Callable[[list[float]], list[Any]], *, keep: int = 100) -> Spoil:
    def spoiled(answer: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        items = [{**item, "embedding": change(item["embedding"])} for item in answer["data"]]
        return 200, {}, json.dumps({**answer, "data": items[:keep]}).encode()

    async def spoil(stand: Stand) -> None:
        stand.server.instead = spoiled

    return spoil


FAILURES: dict[str, Spoil] = {
    "refused": refused,
    "frozen": on_the_line(Fault(hold=True)),
    "slow": on_the_line(Fault(delay_seconds=3 * TIMEOUT_SECONDS)),
    "cut in the middle": on_the_line(Fault(cut_after_bytes=300)),
    "garbage on the line": on_the_line(Fault(garbage=True)),
    "500": answering(500, "{}"),
    "429": answering(429, "{}", Retry_After="1"),
    "a page": answering(200, "<html>please log in</html>"),
    "another dimension": with_vectors(lambda vector: vector[:-1]),
    "not a number": with_vectors(lambda vector: [float("nan")] * len(vector)),
    "too few": with_vectors(list, keep=0),
}


LONG = ("slow", "a page", "another dimension", "too few")
CASES = [pytest.param(name, marks=pytest.mark.extended if name in LONG else ()) for name in FAILURES]


@pytest.mark.parametrize("failure", CASES)
async def test_loading_waits_and_queries_are_told_in_time(stand: Stand, failure: str) -> None:
    """INVARIANT: dependencies may go away; nothing is lost, no caller hangs, and all go on when it is back."""
    await FAILURES[failure](stand)
    asked_at = time.monotonic()
    with pytest.raises((Unavailable, DeadlineExpired)):
        await stand.query()
    assert time.monotonic() - asked_at < DEADLINE_SECONDS + 1
    texts = [f"t{number}" for number in range(BATCHES)]
    await stand.load(*texts)
    patient = failure == "429"
    await eventually(lambda: stand.tries.total() >= (BATCHES if patient else TRIES), "it is tried again and again", 30)
    assert await stand.embedded() == 0
    assert max(stand.deliveries.values()) <= 3, "waiting costs no deliveries"
    stand.server.instead = None
    stand.proxy.heal()
    await stand.proxy.come_back()
    healed_at = time.monotonic()
    await eventually(lambda: stand.have_embedded(BATCHES), "all are embedded")
    log.info("%s: back at work after %.2f s", failure, time.monotonic() - healed_at)
    assert len((await stand.query()).vectors) == 1
    assert await stand.dead() == []


async def test_a_text_that_the_endpoint_alone_fails_at_is_a_dead_letter_and_others_go_on(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """INVARIANT: nothing poisons the queue; a text that breaks its server is told from a server that is broken."""
    monkeypatch.setattr(policy, "LONGEST_WAIT_IN_PLACE_SECONDS", 0.1)
    monkeypatch.setitem(reliability._CONSUMERS, "embedder", replace(topology.EMBEDDER, max_deliver=6))
    poison = embedding("poison").tolist()

    def fails_at_poison(answer: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        poisoned = any(item["embedding"] == poison for item in answer["data"])
        return 500 if poisoned else 200, {}, json.dumps(answer).encode()

    stand.server.instead = fails_at_poison
    await stand.load("poison")
    done = 0
    while not await stand.dead():
        done += 1
        await stand.load(f"good{done}")
        await eventually(lambda: stand.have_embedded(done), "what is good goes on", 30)  # noqa: B023
    [letter] = await stand.dead()
    assert letter.headers["Rag-Dead-Code"] == "embedding_unavailable"
    assert await stand.embedded() == done
