"""The broker is gone, frozen, cut off or out of room: writes and searches are refused in time, and work again later."""

import asyncio
import logging
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.embedder import app as embedder
from services.embedder.settings import EmbedderSettings
from services.gateway.app import build_app
from services.gateway.settings import GatewaySettings
from services.parser import app as parser
from services.parser.settings import ParserSettings
from services.persistence import app as persistence
from services.persistence.settings import PersistenceSettings
from services.retriever import app as retriever
from services.retriever.settings import RetrieverSettings
from shared.service import Service
from tests.hashing_server import DIMENSION, hashing_server
from tests.integration.gateway_stand import Stand, document, running_gateway, running_parts
from tests.running import eventually, running_service, stored
from tests.servers import NatsServer
from tests.tcp_proxy import Fault, TcpProxy, tcp_proxy

log = logging.getLogger(__name__)
PATIENCE_SECONDS = 0.5
# A write tries to publish and asks who is there; each may use its patience once.
ANSWER_SECONDS = 4.0
LONG_OUTAGE_SECONDS = 60.0

Spoil = Callable[[TcpProxy], Awaitable[None]]


async def refused(proxy: TcpProxy) -> None:
    await proxy.go_away()


def spoilt(fault: Fault) -> Spoil:
    async def spoil(proxy: TcpProxy) -> None:
        proxy.spoil(to_server=fault, to_client=fault)

    return spoil


FAILURES: dict[str, Spoil] = {
    "refused": refused,
    "frozen": spoilt(Fault(hold=True)),
    "silent": spoilt(Fault(swallow=True)),
    "slow": spoilt(Fault(delay_seconds=5.0)),
    "garbage on the line": spoilt(Fault(garbage=True)),
}


@pytest.fixture
async def stand(nats_broker: NatsServer) -> AsyncIterator[tuple[Stand, TcpProxy]]:
    """A gateway that alone has the bad line to the broker; its neighbours have a good one."""
    settings = {
        "publish_timeout_seconds": PATIENCE_SECONDS,
        "request_timeout_seconds": PATIENCE_SECONDS,
        "gateway_heartbeat_seconds": 0.2,
    }
    async with tcp_proxy(nats_broker.port) as proxy:
        line = f"nats://127.0.0.1:{proxy.port}"
        async with (
            running_gateway(nats_broker, nats_url=line, **settings) as (service, http, gateway),
            running_parts(nats_broker) as parts,
        ):
            client, recording, retrieving, agent = parts
            yield Stand(nats_broker, service, http, client, recording, retrieving, agent, gateway), proxy


async def post(stand: Stand, document_id: str) -> httpx.Response:
    return await stand.http.post("/v1/documents", json={"documents": [document(id=document_id)]})


async def in_time(answer: Awaitable[httpx.Response], seconds: float = ANSWER_SECONDS) -> httpx.Response:
    asked_at = time.monotonic()
    response = await answer
    assert time.monotonic() - asked_at < seconds
    return response


# The broker's client leaves a connection behind on which it was greeted with garbage.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "failure",
    [pytest.param(name, marks=pytest.mark.extended if name in ("silent", "slow") else ()) for name in FAILURES],
)
async def test_writes_and_searches_are_refused_in_time_and_work_again(
    stand: tuple[Stand, TcpProxy], failure: str
) -> None:
    """INVARIANT: dependencies may go away; nothing is accepted that is not stored, and nobody waits for ever."""
    running, proxy = stand
    assert (await post(running, "before")).status_code == 202
    following = asyncio.create_task(running.http.get("/v1/documents/before/events"))
    await eventually(lambda: len(running.gateway.progress._notices._watches) == 1, "the stream is open")
    await FAILURES[failure](proxy)
    written = await in_time(post(running, "meanwhile"))
    assert (written.status_code, written.json()["status"]) == (503, 503), written.text
    assert int(written.headers["Retry-After"]) >= 1
    searched = await in_time(running.http.post("/v1/search", json={"query": "x"}))
    assert (searched.status_code, searched.headers["content-type"]) == (503, "application/problem+json")
    assert int(searched.headers["Retry-After"]) >= 1
    health = (await in_time(running.http.get("/health/detailed"), 1.0)).json()
    assert health["status"] == "degraded"
    proxy.heal()
    await proxy.come_back()
    healed_at = time.monotonic()

    async def accepted() -> bool:
        return (await post(running, "after")).status_code == 202

    await eventually(accepted, "documents are accepted again", 20)
    log.info("%s: back at work after %.2f s", failure, time.monotonic() - healed_at)
    await eventually(lambda: {"before", "after"} <= running.persistence.documents.keys(), "what was accepted is stored")
    await running.index("before", running.persistence.documents["before"].revision)
    events = await asyncio.wait_for(following, 20)
    assert events.status_code == 200
    assert "event: indexed" in events.text, "the stream outlived the outage"


@pytest.mark.extended
async def test_a_line_that_carries_nothing_any_more_is_given_up(stand: tuple[Stand, TcpProxy]) -> None:
    running, proxy = stand
    proxy.spoil(to_server=Fault(swallow=True), to_client=Fault(swallow=True))
    await eventually(lambda: not running.service.client.is_connected, "the gateway notices", 45)


async def test_writes_are_refused_while_the_broker_has_no_room_on_its_disk(nats_broker: NatsServer) -> None:
    """INVARIANT: nothing is accepted that is not stored; a broker whose disk was full serves again once restarted."""
    process = nats_broker.process
    assert process is not None
    async with running_gateway(nats_broker, publish_timeout_seconds=PATIENCE_SECONDS) as (_, http, _gateway):

        async def send(number: int) -> int:
            response = await http.post("/v1/documents", json={"documents": [document(id=f"d{number}")]})
            if response.status_code == 503:
                assert int(response.headers["Retry-After"]) >= 1
            return response.status_code

        assert await send(0) == 202
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1, 1))
        answers = [await send(number) for number in range(1, 6)]
        assert set(answers) <= {202, 503}
        assert answers[-1] == 503, answers
        nats_broker.kill()
        nats_broker.start()

        async def accepted() -> bool:
            return await send(9) == 202

        await eventually(accepted, "documents are accepted again", 20)
        client = _service_client(_gateway)
        held = len(await stored(client, "INGEST"))
        assert held >= 1 + answers.count(202)


def _service_client(gateway: Any) -> Any:
    return gateway.components._client


@asynccontextmanager
async def platform(broker: NatsServer, data: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Run every service that a document passes, with an embedding endpoint in place of a model."""
    with hashing_server() as endpoint:
        common: dict[str, Any] = {"nats_url": broker.url, "drain_seconds": 5, "data_dir": data}
        model = {"embedding_model": "remote", "embedding_dimension": DIMENSION, "embedding_url": endpoint.url}
        parsing = ParserSettings.model_validate({**common, "parser_workers": 1})
        embedding = EmbedderSettings.model_validate({**common, **model})
        retrieving = RetrieverSettings.model_validate({**common, **model})
        recording = PersistenceSettings.model_validate(common)
        gateway = GatewaySettings.model_validate({**common, "publish_timeout_seconds": 1.0})
        async with AsyncExitStack() as stack:
            for name, settings, lifespan in (
                ("persistence", recording, persistence.build_lifespan(recording)),
                ("parser", parsing, parser.build_lifespan(parsing)),
                ("embedder", embedding, embedder.build_lifespan(embedding)),
                ("retriever", retrieving, retriever.build_lifespan(retrieving)),
            ):
                await stack.enter_async_context(running_service(name, settings, lifespan))
            service = Service("gateway", gateway)
            app = build_app(service, gateway)
            await stack.enter_async_context(app.router.lifespan_context(app))
            await eventually(lambda: service.health.waiting_for is None, "the gateway is ready")
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            yield await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://rag"))


@pytest.mark.parametrize(
    "seconds",
    [3.0, pytest.param(LONG_OUTAGE_SECONDS, marks=[pytest.mark.extended, pytest.mark.timeout(180)])],
    ids=["moment", "minute"],
)
async def test_every_service_comes_back_by_itself_and_every_document_arrives(
    nats_broker: NatsServer, tmp_path: Path, seconds: float
) -> None:
    """INVARIANT: what was accepted before the broker died is indexed after it, with no hand on any service."""
    async with platform(nats_broker, tmp_path) as http:
        documents = [document(id=f"d{number}", text=f"Water number {number} boils.") for number in range(30)]
        sent = await http.post("/v1/documents", json={"documents": documents})
        assert sent.status_code == 202
        nats_broker.kill()
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            assert (await http.post("/v1/documents", json={"documents": [document(id="no")]})).status_code == 503
            assert (await http.post("/v1/search", json={"query": "water"})).status_code == 503
            await asyncio.sleep(0.2)
        nats_broker.start()
        back_at = time.monotonic()

        async def answered() -> bool:
            return (await http.post("/v1/search", json={"query": "water"})).status_code == 200

        await eventually(answered, "searches are answered again", 30)
        log.info("away %.0f s: search after %.2f s", seconds, time.monotonic() - back_at)

        async def indexed() -> bool:
            listed = (await http.get("/v1/documents", params={"limit": 100, "status": "indexed"})).json()
            return {item["id"] for item in listed.get("items", [])} >= {f"d{number}" for number in range(30)}

        await eventually(indexed, "every accepted document is indexed", 60)
        log.info("away %.0f s: documents after %.2f s", seconds, time.monotonic() - back_at)
        assert (await http.get("/v1/admin/dead-letters")).json()["items"] == []
