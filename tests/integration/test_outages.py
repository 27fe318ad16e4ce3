"""A dependency that is away makes messages wait and costs none; one message that fails alone still ends as a letter."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from nats.aio.client import Client

from contracts import subjects, topology
from contracts.documents import IngestMessage
from shared.errors import Unavailable
from shared.messaging import policy
from shared.messaging.delivery import Delivery
from shared.service import Service
from shared.settings import PlatformSettings
from tests.running import client_of, eventually, running_service, stored
from tests.servers import NatsServer

INGEST = subjects.ingest("acme")
WORKERS = 4


class Dependency:
    """What a handler needs: `broken` fails for everybody, `poison` are the texts that it fails for."""

    def __init__(self, *, away: bool = False) -> None:
        self.broken, self.away = False, away
        self.poison: set[str] = set()
        self.tries: Counter[str] = Counter()
        self.deliveries: dict[str, int] = {}
        self.done: list[str] = []

    async def on_ingest(self, message: IngestMessage, delivery: Delivery) -> None:
        text = message.text or ""
        self.tries[text] += 1
        self.deliveries[text] = delivery.deliveries
        if self.broken or text in self.poison:
            raise Unavailable("it does not answer", away=self.away and self.broken)
        self.done.append(text)


@asynccontextmanager
async def stage(server: NatsServer, dependency: Dependency) -> AsyncIterator[Service]:
    @asynccontextmanager
    async def lifespan(service: Service) -> AsyncIterator[None]:
        service.consume(topology.PARSER, IngestMessage, dependency.on_ingest, workers=WORKERS)
        yield

    settings = PlatformSettings(nats_url=server.url, drain_seconds=5)
    async with running_service("parser", settings, lifespan) as service:
        yield service


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the delays short: their number is what counts here."""
    monkeypatch.setattr(policy, "FIRST_DELAY_SECONDS", 0.01)
    monkeypatch.setattr(policy, "LONGEST_DELAY_SECONDS", 0.02)
    monkeypatch.setattr(Unavailable, "default_retry_after_seconds", 0.01)


async def send(client: Client, *texts: str) -> None:
    for text in texts:
        await client.jetstream().publish(INGEST, f'{{"text":"{text}"}}'.encode())


@pytest.mark.parametrize("away", [True, False])
async def test_an_outage_of_many_tries_costs_no_message_and_ends_by_itself(nats_broker: NatsServer, away: bool) -> None:
    """INVARIANT: dependencies may go away; nothing is lost, and all go on when it is back."""
    dependency = Dependency(away=away)
    dependency.broken = True
    texts = [f"t{number}" for number in range(12)]
    async with client_of(nats_broker.url) as client, stage(nats_broker, dependency):
        await send(client, *texts)
        tried = topology.PARSER.max_deliver * WORKERS
        await eventually(lambda: sum(dependency.tries.values()) > tried, "far more tries than deliveries", 30)
        assert max(dependency.deliveries.values()) <= 3
        dependency.broken = False
        await eventually(lambda: len(dependency.done) == len(texts), "all are done")
        assert sorted(dependency.done) == sorted(texts)
        assert await stored(client, "DEAD") == []


async def test_one_success_has_all_that_wait_tried_again_at_once(
    nats_broker: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    dependency = Dependency(away=True)
    dependency.broken = True
    async with client_of(nats_broker.url) as client, stage(nats_broker, dependency):
        monkeypatch.setattr(Unavailable, "default_retry_after_seconds", 30.0)
        await send(client, "one", "two", "three")
        await eventually(lambda: len(dependency.tries) == 3, "they wait for half a minute")
        dependency.broken = False
        ended_at = time.monotonic()
        await send(client, "four")
        await eventually(lambda: len(dependency.done) == 4, "they are done")
        assert time.monotonic() - ended_at < 10


async def test_what_fails_alone_ends_as_a_letter_and_holds_nobody_up(
    nats_broker: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """INVARIANT: nothing poisons the queue, not even more messages that break a dependency than there are workers."""
    monkeypatch.setattr(policy, "LONGEST_WAIT_IN_PLACE_SECONDS", 0.2)
    dependency = Dependency()
    dependency.poison = {f"bad{number}" for number in range(WORKERS + 2)}
    async with client_of(nats_broker.url) as client, stage(nats_broker, dependency):
        await send(client, *sorted(dependency.poison))
        while len(await stored(client, "DEAD")) < len(dependency.poison):
            done = len(dependency.done)
            await send(client, f"good{done}")
            await eventually(lambda: dependency.done[done:], "what is good goes on", 30)  # noqa: B023
            await asyncio.sleep(0.05)  # A flow, not a flood.
        letters = await stored(client, "DEAD")
    assert len(letters) == len(dependency.poison)
    assert dependency.poison.isdisjoint(dependency.done)
