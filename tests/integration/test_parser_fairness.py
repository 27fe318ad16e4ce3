"""Many tenants, one parser, on a real broker; the embedder is a consumer of the real queue that works at a set pace."""

import asyncio
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from nats.aio.client import Client
from nats.js.errors import NotFoundError

from contracts import subjects
from contracts.chunks import ChunksReady
from contracts.codec import decode
from contracts.facts import DocumentParsed
from services.parser.app import build_lifespan
from services.parser.settings import ParserSettings
from shared import models
from shared.messaging.fair_lane import beside
from tests.platform_process import PROJECT
from tests.running import client_of, eventually, running_service, stored
from tests.servers import NatsServer, child_environment

HEAVY = "heavy"
BACKLOG = 300
PACE_SECONDS = 0.01
# 0.25 s of the embedder's work ahead of it, and 10 messages in any case.
TUNED: dict[str, Any] = {
    "parser_ahead_seconds": 0.25,
    "parser_ahead_floor_bytes": 4096,
    "parser_look_seconds": 0.05,
    "parser_early_look_seconds": 0.1,
    "drain_seconds": 5,
}
# At 100 documents a second: 25 ahead (twice that with two parsers, and where the rate is seen too high), 10 until the
# lane looks, and what passes while it parses on a busy machine. In the order of arrival it is what is left of 300.
MAX_AHEAD = 100


@pytest.fixture(autouse=True)
def tokenizer() -> None:
    settings = ParserSettings()
    try:
        models.locate(settings.parser_tokenizer, settings.models_dir)
    except models.ModelError as error:
        pytest.skip(str(error))


@dataclass
class Stand:
    """A producer for any tenant, and the embedder's place taken by a steady worker that notes what it was given."""

    client: Client
    embedded: list[tuple[str, str, int, int]] = field(default_factory=list)
    running: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, tenant: str, **fields: Any) -> int:
        ack = await self.client.jetstream().publish(subjects.ingest(tenant), json.dumps(fields).encode())
        return int(ack.seq)

    async def backlog(self, tenant: str, documents: int) -> list[int]:
        sent = (self.send(tenant, id=f"{tenant}-{n}", text=f"Number {n} of {tenant}.") for n in range(documents))
        return await asyncio.gather(*sent)

    async def embed_at_a_set_pace(self) -> None:
        pull = await self.client.jetstream().pull_subscribe_bind("embedder", stream="CHUNKS")
        while True:
            try:
                messages = await pull.fetch(4, timeout=1)
            except TimeoutError:
                continue
            for message in messages:
                await self.running.wait()
                await asyncio.sleep(PACE_SECONDS)
                ready = decode(ChunksReady, message.data)
                self.embedded.append((ready.tenant, ready.document_id, ready.revision, ready.batch))
                await message.ack_sync()

    async def embedded_more_than(self, batches: int) -> int:
        """Return how many batches are embedded as soon as it is more than so many."""
        return await eventually(lambda: max(0, len(self.embedded) - batches), "the embedder is at work", 30) + batches

    async def embedded_before(self, tenant: str, seconds: float = 60) -> int:
        """Return how many batches were embedded when the tenant's first one was."""

        def place() -> int:
            return next((n for n, (name, *_) in enumerate(self.embedded, 1) if name == tenant), 0)

        return await eventually(place, f"a document of {tenant} is embedded", seconds)

    async def parsed(self) -> list[DocumentParsed]:
        facts = await stored(self.client, "FACTS")
        return [decode(DocumentParsed, fact.data) for fact in facts if fact.subject == subjects.DOCUMENT_PARSED]

    async def worked_off(self, in_dead_hands: int = 0) -> None:
        """Wait for the end of all work but what the broker keeps for a process that died, until its ack wait ends."""

        async def nothing_left() -> bool:
            queued = (await self.client.jetstream().stream_info("CHUNKS")).state.messages
            info = await self.client.jetstream().consumer_info("INGEST", "parser")
            return not (queued or info.num_pending or (info.num_ack_pending or 0) > in_dead_hands)

        await eventually(nothing_left, "everything is parsed and embedded", seconds=90)

    async def nothing_lost_or_doubled(self, revisions: list[int], in_dead_hands: int = 0) -> None:
        facts = await self.parsed()
        parsed = [fact.revision for fact in facts]
        assert len(parsed) == len(set(parsed))
        assert set(parsed) <= set(revisions)
        assert len(revisions) - len(parsed) <= in_dead_hands
        assert in_dead_hands == 0 or max(revisions) in parsed
        batches = Counter((fact.document_id, fact.revision, n) for fact in facts for n in range(fact.batches))
        assert Counter(one[1:] for one in self.embedded) == batches


@asynccontextmanager
async def stand(server: NatsServer, replicas: int = 0) -> AsyncIterator[Stand]:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(client_of(server.url))
        for _ in range(replicas):
            settings = ParserSettings(nats_url=server.url, **TUNED)
            await stack.enter_async_context(running_service("parser", settings, build_lifespan(settings)))
        found = Stand(client)
        await stack.enter_async_context(beside(found.embed_at_a_set_pace()))
        yield found


@contextmanager
def parser_process(server: NatsServer) -> Iterator[subprocess.Popen[bytes]]:
    """Run the parser in a process of its own, which can be killed."""
    settings = {f"RAG_{name.upper()}": str(value) for name, value in TUNED.items()}
    environment = child_environment(RAG_NATS_URL=server.url, **settings)
    command = [sys.executable, "-m", "services.parser.app"]
    process = subprocess.Popen(command, cwd=PROJECT, env=environment, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)


async def test_a_single_document_does_not_wait_for_the_backlog_of_another_tenant(nats_broker: NatsServer) -> None:
    """INVARIANT: no tenant holds up another one, and nothing is lost or done twice for it.

    A queue ahead of the embedder without bound, or documents in the order of arrival alone, would hold each of them
    for what is left of the backlog.
    """
    async with stand(nats_broker, replicas=2) as running:
        revisions = await running.backlog(HEAVY, BACKLOG)
        running.running.set()
        for number, tenant in enumerate(("alpha", "beta")):
            before = await running.embedded_more_than(20 + 20 * number)
            revisions.append(await running.send(tenant, id="single", text=f"The only one of {tenant}."))
            ahead = await running.embedded_before(tenant) - before
            assert ahead <= MAX_AHEAD, f"{ahead} of {BACKLOG} documents went first"
        assert len(running.embedded) < BACKLOG, "the backlog is there until the last of them is through"
        await running.worked_off()
        await running.nothing_lost_or_doubled(revisions)
        assert await stored(running.client, "DEAD") == []


@pytest.mark.extended
async def test_two_backlogs_share_the_embedder(nats_broker: NatsServer) -> None:
    async with stand(nats_broker, 1) as running:
        revisions = await running.backlog(HEAVY, 100) + await running.backlog("second", 100)
        running.running.set()
        await eventually(lambda: len(running.embedded) > 80, "80 documents are embedded", 60)
        shares = Counter(tenant for tenant, *_ in running.embedded[:80])
        assert shares["second"] >= 16, shares
        await running.worked_off()
        await running.nothing_lost_or_doubled(revisions)


async def test_what_the_lane_cannot_parse_fails_once_and_uploads_stay_until_the_durable_is_through(
    nats_broker: NatsServer,
) -> None:
    """INVARIANT: the lane has no effect of its own. A dead letter or a removal of its own would be a second one."""
    async with stand(nats_broker, 1) as running:
        uploads = await running.client.jetstream().object_store(subjects.UPLOADS_BUCKET)
        await uploads.put("upload-1", b"What the upload says.")
        revisions = await running.backlog(HEAVY, 100)
        jetstream = running.client.jetstream()
        await jetstream.publish(subjects.ingest("other"), b"{no json")
        await running.send("other", id="empty", text="   ")
        revisions.append(await running.send("other", id="upload", object="upload-1", media_type="text/plain"))
        await running.send("other", op="delete", id="gone")
        running.running.set()
        await running.embedded_before("other")
        assert len(running.embedded) < 100
        assert await stored(running.client, "DEAD") == []
        assert (await uploads.get("upload-1")).data == b"What the upload says."
        await running.worked_off()
        await running.nothing_lost_or_doubled(revisions)
        letters = [message.headers or {} for message in await stored(running.client, "DEAD")]
        assert [letter[subjects.HEADER_DEAD_DELIVERIES] for letter in letters] == ["1", "1"]

        async def removed() -> bool:
            try:
                await uploads.get_info("upload-1")
            except NotFoundError:
                return True
            return False

        await eventually(removed, "the payload is removed")


async def test_a_crash_in_the_middle_of_the_lane_loses_and_doubles_nothing(nats_broker: NatsServer) -> None:
    """INVARIANT: effects happen once. What the lane published of a document comes again under the same ids."""
    long = "\n\n".join(f"Paragraph {n}. " + "It goes on and on for a while. " * 60 for n in range(450))
    async with stand(nats_broker) as running:
        revisions = await running.backlog(HEAVY, 60)
        revisions.append(await running.send("other", id="long", text=long))
        running.running.set()
        with parser_process(nats_broker) as process:
            await running.embedded_before("other")
            running.running.clear()
            process.kill()
            process.wait()
        assert "long" not in [fact.document_id for fact in await running.parsed()]
        running.running.set()
        with parser_process(nats_broker):
            await running.worked_off(in_dead_hands=4)
        await running.nothing_lost_or_doubled(revisions, in_dead_hands=4)
        assert await stored(running.client, "DEAD") == []
