"""A rolling update under load, with real processes: every service is replaced while callers write, search and ask.

What a cluster does is done here by hand: a new replica starts beside the old one, the old one is asked to end once the
new one is ready, and a load balancer sends callers to a gateway that is ready and is told before that one is to end.

The retriever runs with the embedded index, which has one owner: it ends before the next one starts. Searches and
questions meanwhile may be told to come back later, and nothing else may happen to them.
"""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import nats
import pytest

from contracts import subjects
from contracts.codec import decode
from contracts.facts import FACT_TYPES, DocumentIndexed
from contracts.permissions import PLATFORM, inbox_prefix
from contracts.topology import STREAMS
from tests.postgres import NoPostgreSQL, shared_databases
from tests.rolling_fleet import Fleet, running_fleet
from tests.running import eventually
from tests.sse import reading

pytestmark = [pytest.mark.slow, pytest.mark.extended, pytest.mark.timeout(400)]

# The gateway last: it is the one whose end callers could see on their own connection.
REPLACED: Final = ("parser", "embedder", "embedder.queries", "agent", "persistence")
WRITE_PAUSE_SECONDS, SEARCH_PAUSE_SECONDS, ASK_PAUSE_SECONDS = 0.4, 0.4, 1.0
CALLER_SECONDS: Final = 60.0
# The last replica's work is drained within 30 s, and the next one reads its index within a few.
GAP_SECONDS: Final = 45.0
INDEXED_SECONDS: Final = 120.0
FIRST = "The lighthouse of Sundre was lit in 1882."
QUESTION: Final = "When was the lighthouse of Sundre lit?"


@dataclass
class LoadBalancer:
    """Sends callers to the gateways that are in it, in turns."""

    gateways: list[httpx.AsyncClient] = field(default_factory=list)
    _turn: "itertools.count[int]" = field(default_factory=itertools.count)

    def next(self) -> httpx.AsyncClient:
        return self.gateways[next(self._turn) % len(self.gateways)]

    async def close(self) -> None:
        for gateway in self.gateways:
            await gateway.aclose()


@dataclass
class Load:
    """What callers were told, while replicas came and went."""

    balancer: LoadBalancer
    accepted: list[str] = field(default_factory=list)
    done: "Counter[str]" = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    # Filled while the index has no owner, when callers are told to come back.
    told_to_wait: list[str] = field(default_factory=list)
    resumed: int = 0
    longest_seconds: float = 0.0
    index_is_owned: bool = True
    _asked: "itertools.count[int]" = field(default_factory=lambda: itertools.count(4))
    _stopped: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        await asyncio.gather(
            self._again(self._write, WRITE_PAUSE_SECONDS),
            self._again(self._search, SEARCH_PAUSE_SECONDS),
            self._again(self._ask, ASK_PAUSE_SECONDS),
            self._again(self._ask_for_a_stream, ASK_PAUSE_SECONDS),
        )

    def stop(self) -> None:
        self._stopped.set()

    async def _again(self, call: Callable[[], Awaitable[None]], pause: float) -> None:
        while not self._stopped.is_set():
            began, owned = time.monotonic(), self.index_is_owned
            try:
                await call()
            except (httpx.TransportError, AssertionError, TimeoutError) as error:
                self.failed.append(f"{call.__name__}: {error!r}")
            except _Later as later:
                # Asked before the next owner was there, or answered before it was.
                if owned and self.index_is_owned:
                    self.failed.append(f"{call.__name__}: {later}")
                self.told_to_wait.append(str(later))
            else:
                self.done[call.__name__] += 1
            self.longest_seconds = max(self.longest_seconds, time.monotonic() - began)
            await asyncio.sleep(pause)

    async def _write(self) -> None:
        name = f"w{len(self.accepted)}"
        body = {"documents": [{"id": name, "text": f"Buoy {name} lies {len(self.accepted)} miles off the coast."}]}
        reply = await self.balancer.next().post("/v1/documents", json=body)
        assert reply.status_code == 202, reply.text
        self.accepted.append(name)

    def _question(self) -> str:
        """Return words that nobody sent before: what is kept of earlier ones would keep the embedder out of it."""
        return f"{QUESTION} Asked the {next(self._asked)}th time."

    async def _search(self) -> None:
        body = {"query": self._question(), "top_k": 3}
        reply = await self.balancer.next().post("/v1/search", json=body)
        _judge(reply.status_code, reply.text, reply.headers)
        assert reply.json()["hits"][0]["document_id"] == "first", reply.text

    async def _ask(self) -> None:
        reply = await self.balancer.next().post("/v1/query", json={"question": self._question()})
        _judge(reply.status_code, reply.text, reply.headers)
        assert "1882" in reply.json()["answer"], reply.text

    async def _ask_for_a_stream(self) -> None:
        """Read an answer as it is written; a stream whose gateway ends is gone on with at another one."""
        gateway, last, body = self.balancer.next(), None, {"question": self._question(), "stream": True}
        async with reading(gateway, "POST", "/v1/query", json=body) as stream:
            _judge(stream.response.status_code, "", stream.response.headers)
            events = await stream.rest()
        query_id = events[0].data["id"]
        while events[-1].type not in {"done", "error"}:
            self.resumed += 1
            last = events[-1].id
            path = f"/v1/queries/{query_id}/events"
            async with reading(self.balancer.next(), "GET", path, last_event_id=last) as stream:
                assert stream.response.status_code == 200
                events += await stream.rest()
        if events[-1].type == "error":
            _judge(events[-1].data["status"], str(events[-1].data), {"Retry-After": "told by the event"})
        assert len({event.id for event in events}) == len(events), "an event came twice"
        assert "1882" in events[-1].data["answer"], events


class _Later(Exception):
    """The caller was told when to come back."""


def _judge(status: int, text: str, headers: Any) -> None:
    """Raise _Later for a refusal that says when to come back, AssertionError for anything else that is no answer."""
    if status == 503 and headers.get("Retry-After"):
        raise _Later(text)
    assert status == 200, f"{status} {text}"


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    try:
        databases = shared_databases()
    except NoPostgreSQL as error:
        pytest.skip(str(error))
    # Two replicas of persistence need a database that two processes may write to.
    with databases.database(empty=True) as url:
        async with running_fleet(tmp_path / "data", RAG_DATABASE_URL=url) as running:
            yield running


def caller(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, timeout=CALLER_SECONDS)


async def test_every_service_is_replaced_under_load_without_a_failed_call_a_lost_or_a_doubled_document(
    fleet: Fleet,
) -> None:
    """INVARIANT: accepted is durable, and ready means consuming: a rolling update is seen by nobody.

    A replica that ends while it holds work, or counts as ready before it takes any, would fail calls here.
    """
    load = Load(LoadBalancer([caller(fleet.url)]))
    await load_first(load.balancer)
    running = asyncio.create_task(load.run())
    try:
        for name in REPLACED:
            await going_on(load)
            await fleet.replace(name)
        gap = await replace_the_owner_of_the_index(fleet, load)
        await replace_the_gateway(fleet, load)
        await going_on(load)
    finally:
        load.stop()
        await running
    assert load.failed == []
    assert gap < GAP_SECONDS
    assert load.longest_seconds < CALLER_SECONDS
    assert set(load.done) == {"_write", "_search", "_ask", "_ask_for_a_stream"}

    await all_indexed(load)
    await nothing_doubled_and_no_letter(fleet, load)
    await load.balancer.close()
    cut_off = {one.name: line for one in fleet.ended for line in one.logged("message_abandoned")}
    assert cut_off == {}, "work was cut off instead of finished"
    assert all(one.logged("service_drained") for one in fleet.ended)


async def load_first(balancer: LoadBalancer) -> None:
    """Load the document that every search and question is about."""
    body = {"documents": [{"id": "first", "text": FIRST}]}
    reply = await balancer.next().post("/v1/documents", params={"wait_s": 30}, json=body)
    assert reply.json()["documents"][0]["status"] == "indexed", reply.text


async def going_on(load: Load) -> None:
    """Return once every kind of call was answered anew."""
    before = load.done.copy()
    kinds = ("_write", "_search", "_ask", "_ask_for_a_stream")
    await eventually(
        lambda: all(load.done[kind] > before[kind] for kind in kinds) or load.failed, "callers are served", 60
    )


async def replace_the_owner_of_the_index(fleet: Fleet, load: Load) -> float:
    """Return for how long nobody had the index; loading goes on meanwhile."""
    await going_on(load)
    written = load.done["_write"]
    load.index_is_owned = False
    gap = await fleet.replace_owner("retriever")
    load.index_is_owned = True
    assert load.done["_write"] > written, "documents were not accepted while nobody had the index"
    await going_on(load)
    return gap


async def replace_the_gateway(fleet: Fleet, load: Load) -> None:
    """Have the load balancer know first, as `preStop` does: what is on its way is finished, new calls go elsewhere."""
    old = fleet.running["gateway"]
    new = await fleet.start_beside("gateway")
    load.balancer.gateways.append(caller(new.url))
    await going_on(load)
    leaving = load.balancer.gateways.pop(0)
    fleet.running["gateway"] = new
    await fleet.end(old)
    await leaving.aclose()


async def all_indexed(load: Load) -> None:
    async def count() -> dict[str, int]:
        reply = await load.balancer.next().get("/v1/collections")
        assert reply.status_code == 200, reply.text
        found: dict[str, int] = reply.json()["items"][0]["by_status"]
        return found

    wanted = {"indexed": len(load.accepted) + 1}

    async def complete() -> bool:
        return await count() == wanted

    await eventually(complete, f"all of {wanted} are indexed", INDEXED_SECONDS)


async def nothing_doubled_and_no_letter(fleet: Fleet, load: Load) -> None:
    """Every document was told of as indexed once, the index holds its chunk once, and no message died."""
    http = load.balancer.next()
    told = await told_as_indexed(fleet)
    assert told == Counter(["first", *load.accepted])
    health = (await http.get("/health/detailed")).json()["services"]
    (retriever,) = (one for one in health["retriever"]["replicas"] if one["ready"])
    assert retriever["details"]["index"]["chunks"] == len(load.accepted) + 1
    letters = (await http.get("/v1/admin/dead-letters")).json()["items"]
    assert letters == []


async def told_as_indexed(fleet: Fleet) -> "Counter[str]":
    """Return how often the fact was told of each document."""
    (stream,) = (one.name for one in STREAMS if subjects.FACTS_ALL in one.subjects)
    (subject,) = (subject for subject, model in FACT_TYPES.items() if model is DocumentIndexed)
    client = await nats.connect(
        fleet.plan.broker_url,
        user=PLATFORM,
        password=fleet.plan.data.password(PLATFORM),
        inbox_prefix=inbox_prefix("gateway").encode(),
    )
    try:
        jetstream = client.jetstream()
        state = (await jetstream.stream_info(stream)).state
        stored = [await jetstream.get_msg(stream, seq) for seq in range(state.first_seq, state.last_seq + 1)]
    finally:
        await client.close()
    return Counter(decode(DocumentIndexed, one.data or b"").document_id for one in stored if one.subject == subject)
