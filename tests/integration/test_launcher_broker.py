"""The broker of `rag up`: its owner, who may do everything, and whoever comes without credentials."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client

from contracts import subjects
from contracts.permissions import PLATFORM
from services.cli.broker_access import BrokerLogin, jetstream
from services.cli.broker_config import MAX_MEMORY_BYTES, BrokerOptions, broker_config, max_file_bytes, server_binary
from services.cli.errors import CommandError
from shared.messaging.broker import settle
from shared.messaging.broker_login import INBOX_PREFIX
from shared.messaging.provisioning import drift, provision
from tests.servers import START_TIMEOUT_SECONDS, free_port, wait_for_port

PASSWORD = "a password"


@dataclass
class Broker:
    """A server with the launcher's configuration."""

    url: str
    store: Path

    @asynccontextmanager
    async def platform(self) -> AsyncIterator[Client]:
        client = await nats.connect(
            self.url, user=PLATFORM, password=PASSWORD, inbox_prefix=INBOX_PREFIX.encode(), error_cb=quiet
        )
        try:
            yield client
        finally:
            await client.close()

    @asynccontextmanager
    async def producer(self) -> AsyncIterator[tuple[Client, "Refusals"]]:
        refusals = Refusals()
        client = await nats.connect(self.url, error_cb=refusals.add)
        try:
            yield client, refusals
        finally:
            await client.close()


class Refusals:
    """What the server refused, as it says it."""

    def __init__(self) -> None:
        self._heard: asyncio.Queue[str] = asyncio.Queue()

    async def add(self, error: Exception) -> None:
        await self._heard.put(str(error).lower())

    async def next(self) -> str:
        return await asyncio.wait_for(self._heard.get(), 5)


async def quiet(_error: Exception) -> None:
    return None


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    port = free_port()
    store = tmp_path / 'a "folder" $with ünusual {name}'
    store.mkdir()
    config = tmp_path / "nats.conf"
    config.write_text(broker_config(BrokerOptions(port, free_port(), store, {PLATFORM: PASSWORD})))
    process = subprocess.Popen([str(server_binary()), "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port, process)
        yield Broker(f"nats://127.0.0.1:{port}", store)
    finally:
        process.terminate()
        process.wait(START_TIMEOUT_SECONDS)


async def test_the_platform_can_declare_all_that_it_needs(broker: Broker) -> None:
    async with broker.platform() as client:
        jetstream = client.jetstream()
        assert await provision(jetstream, replicas=1)
        assert await drift(jetstream, replicas=1) == []
        account = await jetstream.account_info()
    assert account.limits.max_storage == -1
    assert (broker.store / "jetstream").is_dir()


async def test_the_declared_streams_fit_into_the_stores(broker: Broker) -> None:
    async with broker.platform() as client:
        await provision(client.jetstream(), replicas=1)
        streams = await client.jetstream().streams_info()
    for storage, room in (("file", max_file_bytes()), ("memory", MAX_MEMORY_BYTES)):
        reserved = sum(info.config.max_bytes or 0 for info in streams if info.config.storage == storage)
        assert 0 < reserved < room


async def test_a_producer_gets_its_document_acknowledged(broker: Broker) -> None:
    async with broker.platform() as client:
        await provision(client.jetstream(), replicas=1, first_revision=7)
    async with broker.producer() as (client, _):
        ack = await client.jetstream().publish(subjects.ingest("default"), b'{"id":"a","text":"x"}')
    assert (ack.stream, ack.seq) == ("INGEST", 7)


async def test_a_producer_reads_facts(broker: Broker) -> None:
    async with broker.producer() as (producer, _), broker.platform() as platform:
        facts = await producer.subscribe(subjects.FACTS_ALL)
        await settle(producer)
        await platform.publish(subjects.DOCUMENT_INDEXED, b"{}")
        await settle(platform)
        assert (await facts.next_msg(5)).subject == subjects.DOCUMENT_INDEXED


async def test_a_producer_does_not_read_who_used_which_key(broker: Broker) -> None:
    async with broker.producer() as (producer, refusals), broker.platform() as platform:
        facts = await producer.subscribe(subjects.FACTS_ALL)
        await settle(producer)
        await platform.publish("rag.v1.facts.audit.key_used", b"{}")
        await platform.publish(subjects.DOCUMENT_INDEXED, b"{}")
        await settle(platform)
        assert (await facts.next_msg(5)).subject == subjects.DOCUMENT_INDEXED
        await producer.subscribe("rag.v1.facts.audit.*")
        await settle(producer)
        assert "permissions violation for subscription" in await refusals.next()


@pytest.mark.parametrize(
    "subject",
    [
        "rag.v1.ingest.other",
        "rag.v1.ingest.default.more",
        subjects.DOCUMENT_DELETED,
        subjects.CHUNKS_READY,
        subjects.RETRIEVE,
        subjects.HEALTH,
        "$JS.API.STREAM.DELETE.INGEST",
        "$JS.API.STREAM.MSG.GET.INGEST",
        "$JS.API.DIRECT.GET.INGEST",
        "$JS.ACK.INGEST.parser.1.1.1.1.1",
        "$O.uploads.C.x",
        "$SYS.REQ.SERVER.PING",
        "_INBOX_rag.x",
        "_INBOX.x",
    ],
)
async def test_a_producer_publishes_nowhere_else(broker: Broker, subject: str) -> None:
    async with broker.producer() as (client, refusals):
        await client.publish(subject, b"{}")
        await settle(client)
        assert "permissions violation for publish" in await refusals.next()


@pytest.mark.parametrize(
    "subject", [">", "rag.v1.>", subjects.INGEST_ALL, "rag.v1.answers.*", "_INBOX_rag.>", "$SYS.>"]
)
async def test_a_producer_reads_nothing_else(broker: Broker, subject: str) -> None:
    async with broker.producer() as (client, refusals):
        await client.subscribe(subject)
        await settle(client)
        assert "permissions violation for subscription" in await refusals.next()


async def test_nobody_becomes_the_platform_without_its_password(broker: Broker) -> None:
    login = BrokerLogin(broker.url, PLATFORM, "guess")
    with pytest.raises(CommandError, match=r"(?i)(authorization violation|reset by peer).*check RAG_NATS_URL"):
        async with jetstream(login, connect_seconds=2):
            raise AssertionError("connected")


def test_the_server_listens_on_the_loopback_interface_only(tmp_path: Path) -> None:
    config = json.loads(broker_config(BrokerOptions(4222, 8222, tmp_path, {PLATFORM: PASSWORD})))
    assert config["listen"] == "127.0.0.1:4222"
    assert config["http"] == "127.0.0.1:8222"
    assert config["max_payload"] == 1_048_576
