"""Persistence and the gateway on a cluster of three brokers that are killed under load."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
import orjson
import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError

from contracts import subjects
from contracts.topology import STREAMS, Storage
from services.persistence.app import build_lifespan
from services.persistence.settings import PersistenceSettings
from shared.errors import PlatformError
from shared.messaging.provisioning import drift, provision
from shared.service import Service
from tests.integration.gateway_stand import running_gateway
from tests.nats_cluster import NatsCluster, nats_cluster
from tests.running import client_of, eventually, running_service

log = logging.getLogger(__name__)
REPLICAS = 3
PUBLISHERS = 4
TENANT = "default"
# Elections took up to 7.7 s on two busy cores; a machine that is busier still shall not fail the test.
PATIENCE_SECONDS = 30.0


@dataclass
class Load:
    """Publishes documents one after the other on several tasks, through a service's publisher and over HTTP."""

    service: Service
    http: httpx.AsyncClient
    acknowledged: dict[str, int] = field(default_factory=dict)
    repeated: int = 0
    refused: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    slowest: dict[str, float] = field(default_factory=dict)
    stopped: bool = False
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self) -> None:
        ways = [*(self.publish(worker) for worker in range(PUBLISHERS)), self.post()]
        self.tasks = [asyncio.create_task(way) for way in ways]

    async def stop(self) -> None:
        """Let every task finish what it has sent."""
        self.stopped = True
        await asyncio.gather(*self.tasks)

    async def publish(self, worker: int) -> None:
        """Publish until it is stopped."""
        number = 0
        while not self.stopped:
            number += 1
            name = f"p{worker}-{number}"
            payload = orjson.dumps({"id": name, "text": "t"})
            begun = time.monotonic()
            try:
                done = await self.service.publisher.publish_bytes(
                    subjects.ingest(TENANT), payload, tenant=TENANT, message_id=name, headers={}
                )
            except PlatformError as error:
                self.refused.append(error.message)
                continue
            self._done("publisher", name, done.sequence, begun)
            self.repeated += done.duplicate

    async def post(self) -> None:
        """Send documents over HTTP until it is stopped."""
        number = 0
        while not self.stopped:
            number += 1
            name, begun = f"h{number}", time.monotonic()
            reply = await self.http.post("/v1/documents", json={"documents": [{"id": name, "text": "t"}]})
            if reply.status_code == 202:
                self._done("http", name, reply.json()["documents"][0]["revision"], begun)
            else:
                self.refused.append(f"{reply.status_code} {reply.text}")

    def _done(self, way: str, name: str, revision: int, begun: float) -> None:
        now = time.monotonic()
        self.acknowledged[name] = revision
        self.times.append(now)
        self.slowest[way] = max(self.slowest.get(way, 0.0), now - begun)

    def longest_gap(self) -> float:
        """Return the longest time without any acknowledgement, in seconds."""
        return max(after - before for before, after in zip(self.times, self.times[1:], strict=False))

    async def goes_on(self, number: int = 50) -> None:
        """Return once so many more documents are acknowledged on each way."""
        for way in ("p0-", "h"):
            wanted = self._count(way) + number // PUBLISHERS
            await eventually(partial(self._has, way, wanted), f"{way} goes on", PATIENCE_SECONDS)

    def _has(self, way: str, wanted: int) -> bool:
        return self._count(way) >= wanted

    def _count(self, way: str) -> int:
        return sum(1 for name in self.acknowledged if name.startswith(way))


@dataclass
class Stand:
    """A cluster with services and a load on it."""

    cluster: NatsCluster
    client: Client
    load: Load

    async def leader_of(self, stream: str) -> str:
        async def leader() -> str:
            try:
                found = (await self.client.jetstream().stream_info(stream)).cluster
            except (NatsError, TimeoutError):
                return ""
            return (found and found.leader) or ""

        return await eventually(leader, f"{stream} has a leader", PATIENCE_SECONDS)

    async def complete(self) -> None:
        """Wait until every replica of INGEST has caught up."""

        async def current() -> bool:
            try:
                found = (await self.client.jetstream().stream_info("INGEST")).cluster
            except (NatsError, TimeoutError):
                return False
            replicas = (found and found.replicas) or []
            return len(replicas) == REPLICAS - 1 and all(each.current and not each.offline for each in replicas)

        await eventually(current, "the killed server has joined again", 60)

    async def documents(self) -> dict[str, int]:
        """Return the revision of every document that persistence recorded."""
        found: dict[str, int] = {}
        cursor: str | None = None
        while True:
            question = {"tenant": TENANT, "limit": 100, "cursor": cursor}
            page = orjson.loads(
                (await self.client.request(subjects.READ_DOCUMENTS, orjson.dumps(question), timeout=5)).data
            )
            found |= {item["id"]: item["revision"] for item in page["items"]}
            cursor = page.get("next_cursor")
            if cursor is None:
                return found

    async def nothing_lost_nothing_twice(self) -> None:
        """Compare what was acknowledged with what is stored and what is recorded."""
        load = self.load

        async def everything() -> bool:
            try:
                return len(await self.documents()) >= len(load.acknowledged)
            except (NatsError, TimeoutError):
                return False

        await eventually(everything, "everything that was acknowledged is recorded", PATIENCE_SECONDS)
        assert load.refused == []
        assert await self.documents() == load.acknowledged
        config = (await self.client.jetstream().stream_info("INGEST")).config
        state = (await self.client.jetstream().stream_info("INGEST")).state
        assert state.last_seq + 1 - (config.first_seq or 1) == len(load.acknowledged), "no message is there twice"


@asynccontextmanager
async def loaded(cluster: NatsCluster, data: Path) -> AsyncIterator[Stand]:
    """Provision a cluster, run persistence and a gateway on it, and publish until the block ends."""
    async with client_of(cluster.url) as client:
        await provision(client.jetstream(timeout=15), replicas=REPLICAS)
        patient = {"nats_replicas": REPLICAS, "publish_timeout_seconds": PATIENCE_SECONDS}
        settings = PersistenceSettings(nats_url=cluster.url, nats_replicas=REPLICAS, data_dir=data, drain_seconds=5)
        async with (
            running_service("persistence", settings, build_lifespan(settings)),
            running_gateway(cluster, **patient) as (service, http, _gateway),
        ):
            load = Load(service, http)
            load.start()
            try:
                await load.goes_on()
                yield Stand(cluster, client, load)
            finally:
                await load.stop()


async def test_nothing_acknowledged_is_lost_when_the_leader_is_killed_under_load(tmp_path: Path) -> None:
    """INVARIANT: accepted is durable. Publishers bear the election: nobody is refused, nothing is there twice."""
    with nats_cluster() as cluster:
        async with loaded(cluster, tmp_path) as stand:
            cluster.node(await stand.leader_of("INGEST")).kill()
            await stand.load.goes_on()
            await stand.load.stop()
            await stand.nothing_lost_nothing_twice()
            log.info("longest gap %.1f s, %d repeats were stored before", stand.load.longest_gap(), stand.load.repeated)


@pytest.mark.extended
@pytest.mark.timeout(400)
async def test_a_cluster_loses_nothing_whichever_server_dies_and_recovers_as_a_whole(tmp_path: Path) -> None:
    """INVARIANT: accepted is durable, whoever is killed, and each one joins again and is trusted with a share."""
    with nats_cluster() as cluster:
        async with loaded(cluster, tmp_path) as stand:
            for role in ("leader of INGEST", "leader of the cluster", "follower"):
                name = await _named(stand, role)
                stand.load.times.clear()
                await stand.load.goes_on()
                cluster.node(name).kill()
                await stand.load.goes_on()
                log.info("%s killed: longest gap %.1f s", role, stand.load.longest_gap())
                cluster.node(name).start()
                await stand.complete()
            await stand.load.stop()
            await stand.nothing_lost_nothing_twice()

            cluster.kill()
            cluster.start()
            begun = time.monotonic()
            await stand.complete()
            log.info("the whole cluster is there again after %.1f s", time.monotonic() - begun)
            await stand.nothing_lost_nothing_twice()
            jetstream = stand.client.jetstream(timeout=15)
            log.info("after a restart of all: %s", await drift(jetstream, replicas=REPLICAS))
            await provision(jetstream, replicas=REPLICAS)
            assert await drift(jetstream, replicas=REPLICAS) == []
            for stream in (each for each in STREAMS if each.storage is Storage.MEMORY):
                await jetstream.publish(stream.subjects[0].replace("*", "a"), b"{}")


async def _named(stand: Stand, role: str) -> str:
    leader = await stand.leader_of("INGEST")
    meta = await asyncio.to_thread(stand.cluster.meta_leader)
    followers = [node.name for node in stand.cluster.nodes if node.name not in (leader, meta)]
    return {"leader of INGEST": leader, "leader of the cluster": meta, "follower": followers[0]}[role]
