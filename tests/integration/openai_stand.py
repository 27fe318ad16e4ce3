"""A gateway that listens on a port, the official client of OpenAI's API, and a library of a few texts behind both."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from nats.aio.client import Client
from openai import AsyncOpenAI
from opentelemetry.metrics import NoOpMeter
from opentelemetry.trace import NoOpTracer

from contracts import subjects
from contracts.messages import Message
from contracts.reads import CollectionList, CollectionsQuery, CollectionView
from contracts.retrieval import EmbedRequest, RetrieveRequest
from services.agent.app import build_lifespan
from services.agent.settings import AgentSettings
from services.gateway.app import build_app
from services.gateway.settings import GatewaySettings
from shared.errors import Unavailable
from shared.messaging.broker import settle
from shared.messaging.requests import respond
from shared.metrics import MessagingMetrics
from shared.service import Service
from tests.integration.gateway_stand import Agent
from tests.running import client_of, eventually, running_service
from tests.servers import NatsServer
from tests.unit.agent.library import Library


@dataclass
class Stand:
    """What a test touches: `client` speaks the wire format, `http` whatever it is told to."""

    service: Service
    app: FastAPI
    url: str
    client: AsyncOpenAI
    http: httpx.AsyncClient
    nats: Client
    library: Library
    collections: set[str] = field(default_factory=lambda: {"handbook", "minutes"})
    embedded: list[EmbedRequest] = field(default_factory=list)
    embedder_failure: Exception | None = None
    embedder_open: asyncio.Event = field(default_factory=asyncio.Event)
    persistence_failure: Exception | None = None

    async def read_collections(self, query: CollectionsQuery, _deadline: float | None) -> Message:
        """Answer what persistence answers."""
        if self.persistence_failure is not None:
            raise self.persistence_failure
        names = self.collections & {query.name} if query.name else self.collections
        return CollectionList(items=[CollectionView(name=name, documents=1, chunks=1, by_status={}) for name in names])

    async def embed(self, request: EmbedRequest, _deadline: float | None) -> Message:
        """Answer what the embedder answers, once `embedder_open` is set."""
        self.embedded.append(request)
        await self.embedder_open.wait()
        if self.embedder_failure is not None:
            raise self.embedder_failure
        if request.model not in (None, self.library.model):
            raise Unavailable(f"the embedder has no model {request.model}", code="model_mismatch")
        return await self.library.embed(request)


@asynccontextmanager
async def running_stand(broker: NatsServer, **settings: Any) -> AsyncIterator[Stand]:
    """Run everything but an agent until the block ends."""
    async with AsyncExitStack() as stack:
        nats = await stack.enter_async_context(client_of(broker.url))
        service, app, url = await stack.enter_async_context(_gateway(broker, settings))
        client = await stack.enter_async_context(AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=url))
        stand = Stand(service, app, url, client, http, nats, Library())
        stand.embedder_open.set()
        await _answer(stand)
        yield stand


@asynccontextmanager
async def real_agent(broker: NatsServer, **settings: Any) -> AsyncIterator[None]:
    """Run the agent itself; without a language model it picks sentences."""
    chosen = AgentSettings(nats_url=broker.url, **{"drain_seconds": 5, "agent_patience_seconds": 1, **settings})
    async with running_service("agent", chosen, build_lifespan(chosen)):
        yield


@asynccontextmanager
async def scripted_agent(stand: Stand) -> AsyncIterator[Agent]:
    """Run an agent that tells the events which the test puts there."""
    agent = Agent(stand.nats)
    work = asyncio.create_task(agent.work())
    try:
        yield agent
    finally:
        # A fetch may swallow its cancellation, so the loop has a flag as well.
        agent.stopped = True
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work


@asynccontextmanager
async def _gateway(broker: NatsServer, settings: dict[str, Any]) -> AsyncIterator[tuple[Service, FastAPI, str]]:
    configured = GatewaySettings.model_validate({"nats_url": broker.url, "instance": "gateway-1", **settings})
    service = Service("gateway", configured)
    app = build_app(service, configured)
    server = _Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, lifespan="on"))
    serving = asyncio.create_task(server.serve())
    try:
        await eventually(lambda: server.started and service.health.waiting_for is None, "the gateway is ready")
        yield service, app, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


class _Server(uvicorn.Server):
    """Leaves signals to the test run."""

    @contextmanager
    def capture_signals(self) -> Any:
        """Capture none."""
        yield


async def _answer(stand: Stand) -> None:
    serve = partial(
        respond, stand.nats, NoOpTracer(), MessagingMetrics(NoOpMeter("test")), queue="test", concurrency=16
    )
    await serve(subjects.READ_COLLECTIONS, CollectionsQuery, stand.read_collections)
    await serve(subjects.RETRIEVE, RetrieveRequest, stand.library.retrieve)
    await serve(subjects.EMBED_QUERY, EmbedRequest, stand.embed)
    await settle(stand.nats)
