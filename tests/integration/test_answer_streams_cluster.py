"""Streams of answers on a cluster of brokers, one of which dies in the middle of an answer."""

import asyncio
import contextlib
from collections.abc import Iterator

import pytest
from nats.errors import Error as NatsError

from contracts.queries import AnswerEvent
from shared.messaging.provisioning import provision
from tests.integration.gateway_stand import Agent, running_gateway
from tests.integration.test_answer_streams import ANSWER, QUESTION, event
from tests.nats_cluster import NatsCluster, nats_cluster
from tests.running import client_of, eventually
from tests.servers import NatsServer
from tests.sse import reading, serving

REPLICAS = 3
DELTAS = 40
PATIENCE_SECONDS = 60.0


@pytest.fixture
def cluster() -> Iterator[NatsCluster]:
    with nats_cluster() as running:
        yield running


async def tell(agent: Agent, query_id: str, one: AnswerEvent) -> None:
    """Publish an event until it is stored, as the agent does."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with contextlib.suppress(NatsError, TimeoutError):
                await agent.tell(query_id, one, message_id=f"{query_id}:{one.sequence}")
                return
            await asyncio.sleep(0.2)


@pytest.mark.extended
async def test_an_answer_goes_on_when_the_broker_that_leads_its_stream_dies(cluster: NatsCluster) -> None:
    """INVARIANT: each event reaches the reader once and in order, whichever replica tells of it."""
    one, two, _ = cluster.nodes
    settings = {"nats_replicas": REPLICAS, "gateway_recheck_seconds": 1, "gateway_query_timeout_seconds": 110}
    async with client_of(cluster.url) as client:
        await provision(client.jetstream(), replicas=REPLICAS)
        agent = Agent(client)
        async with (
            running_gateway(_first(one, cluster), **settings) as (_, first, _gateway),
            running_gateway(_first(two, cluster), **settings, instance="gateway-2") as (_, second, _other),
            serving(first._transport.app) as http,  # type: ignore[attr-defined]
            serving(second._transport.app) as other,  # type: ignore[attr-defined]
        ):
            working = asyncio.create_task(agent.work())
            async with reading(http, "POST", "/v1/query", json=QUESTION) as stream:
                await eventually(lambda: agent.questions, "the question is on the queue", PATIENCE_SECONDS)
                query_id = agent.questions[0][0].query_id
                await tell(agent, query_id, event(1, "accepted"))
                await stream.until("accepted")
                for number in range(2, DELTAS):
                    if number == DELTAS // 2:
                        info = await client.jetstream().stream_info("ANSWERS")
                        assert info.cluster is not None
                        cluster.node(str(info.cluster.leader)).kill()
                    await tell(agent, query_id, event(number, "delta", text=str(number)))
                await tell(agent, query_id, event(DELTAS, "done", **ANSWER.model_dump(mode="json")))
                numbers = [int(found.id) for found in await stream.rest()]
            assert numbers == list(range(2, DELTAS + 1))
            path = f"/v1/queries/{query_id}/events"
            async with reading(other, "GET", path, last_event_id=10) as stream:
                assert [int(found.id) for found in await stream.rest()] == list(range(11, DELTAS + 1))
            agent.stopped = True
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)


def _first(node: NatsServer, cluster: NatsCluster) -> NatsCluster:
    """Return the cluster as somebody sees it who asks this node first."""
    return NatsCluster(sorted(cluster.nodes, key=lambda other: other.port != node.port))
