"""Gateways on real ports, with stand-ins behind them, and clients of the official library."""

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx2
import uvicorn
from fastapi import FastAPI
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, TextContent

from services.gateway.app import build_app
from services.gateway.gateway import Gateway
from services.gateway.settings import GatewaySettings
from shared.service import Service
from tests.integration.gateway_stand import Agent, Persistence, Retriever, running_parts
from tests.running import eventually
from tests.servers import NatsServer


@dataclass
class Replica:
    """A gateway that listens on a port."""

    url: str
    service: Service
    app: FastAPI
    server: uvicorn.Server

    @property
    def gateway(self) -> Gateway:
        gateway: Gateway = self.app.state.gateway
        return gateway


@dataclass
class McpStand:
    """A gateway and what is behind it."""

    replica: Replica
    persistence: Persistence
    retriever: Retriever
    agent: Agent
    broker: NatsServer

    @property
    def url(self) -> str:
        return self.replica.url


@asynccontextmanager
async def running_replica(broker: NatsServer, **settings: object) -> AsyncIterator[Replica]:
    """Run a gateway on a free port until the block ends."""
    configured = GatewaySettings.model_validate({"nats_url": broker.url, **settings})
    service = Service("gateway", configured)
    app = build_app(service, configured)
    server = uvicorn.Server(uvicorn.Config(app, lifespan="on", log_config=None, access_log=False))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        serving = asyncio.create_task(server.serve([listener]))
        await eventually(lambda: server.started and service.health.waiting_for is None, "the gateway is ready")
        try:
            yield Replica(url, service, app, server)
        finally:
            server.should_exit = True
            await serving


@asynccontextmanager
async def running_mcp(broker: NatsServer, **settings: object) -> AsyncIterator[McpStand]:
    """Run a gateway with all its stand-ins until the block ends."""
    async with running_replica(broker, **settings) as replica, running_parts(broker) as parts:
        _, persistence, retriever, agent = parts
        yield McpStand(replica, persistence, retriever, agent, broker)


class Turns(httpx2.AsyncBaseTransport):
    """Sends each request to the next replica, as a load balancer does."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._next = itertools.cycle([httpx2.URL(url) for url in urls])
        self._transport = httpx2.AsyncHTTPTransport()
        self.ports: list[int | None] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        turn = next(self._next)
        request.url = request.url.copy_with(port=turn.port)
        self.ports.append(turn.port)
        return await self._transport.handle_async_request(request)

    async def aclose(self) -> None:
        await self._transport.aclose()


@asynccontextmanager
async def taking_turns(urls: Sequence[str], mode: str) -> AsyncIterator[tuple[Client, Turns]]:
    """Connect a client to several replicas at once."""
    turns = Turns(urls)
    async with (
        httpx2.AsyncClient(transport=turns) as http,
        Client(streamable_http_client(f"{urls[0]}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client, turns


def text_of(result: CallToolResult) -> str:
    """Return the one text of a result."""
    [content] = result.content
    assert isinstance(content, TextContent)
    return content.text
