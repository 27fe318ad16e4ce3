"""Streams of answers from a gateway process: readers who do not read, and a process that ends."""

import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from nats.aio.client import Client

from tests.integration.gateway_stand import Agent, running_parts
from tests.integration.test_answer_streams import ANSWER, BEGUN, QUESTION, REST, event
from tests.integration.test_gateway_process import Process, started
from tests.running import eventually
from tests.servers import NatsServer, free_port
from tests.sse import reading

PIECE = "x" * 50_000
PIECES = 800
BOUND_BYTES = 15_000_000
SEND_SECONDS = 2.0


@asynccontextmanager
async def gateway(broker: NatsServer, **environment: str) -> AsyncIterator[Process]:
    port = free_port()
    with started(RAG_NATS_URL=broker.url, RAG_PORT=str(port), **environment) as process:
        running = Process(port, process.pid)
        async with httpx.AsyncClient(base_url=running.url) as http:

            async def ready() -> bool:
                try:
                    return (await http.get("/ready")).status_code == 200
                except httpx.TransportError:
                    return False

            await eventually(ready, "the gateway is ready")
        yield running


@pytest.fixture
async def agent(nats_broker: NatsServer) -> AsyncIterator[tuple[Client, Agent]]:
    async with running_parts(nats_broker) as (client, _persistence, _retriever, standing_in):
        yield client, standing_in


def ask_and_read_nothing(port: int) -> socket.socket:
    """Open a stream on a connection whose kernel takes little, and never look at what comes."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", port))
    body = b'{"question": "When does water boil?", "stream": true}'
    head = (
        f"POST /v1/query HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)
    return connection


async def test_a_reader_who_takes_nothing_costs_no_memory_and_is_dropped(
    nats_broker: NatsServer, agent: tuple[Client, Agent]
) -> None:
    _, standing_in = agent
    # No further reader finds a seat before this one has lost its own.
    bounds = {"RAG_GATEWAY_SEND_SECONDS": str(SEND_SECONDS), "RAG_GATEWAY_MAX_WAITING": "1"}
    async with gateway(nats_broker, **bounds) as process:
        connection = ask_and_read_nothing(process.port)
        await eventually(lambda: standing_in.questions, "the question is on the queue")
        query_id = standing_in.questions[0][0].query_id
        before = most = process.memory_bytes
        await standing_in.tell(query_id, event(1, "accepted"))
        for number in range(PIECES):
            await standing_in.tell(query_id, event(number + 2, "delta", text=PIECE))
            most = max(most, process.memory_bytes)
        await standing_in.tell(query_id, event(PIECES + 2, "done", **ANSWER.model_dump(mode="json")))
        assert most - before < BOUND_BYTES, f"of {PIECES * len(PIECE)} bytes that nobody took"
        async with httpx.AsyncClient(base_url=process.url, timeout=30) as http:

            async def reread() -> int:
                async with reading(http, "GET", f"/v1/queries/{query_id}/events", last_event_id=0) as stream:
                    return len(await stream.rest()) if stream.response.status_code == 200 else 0

            assert await eventually(reread, "the seat is free, and the answer complete") == PIECES + 2
        connection.close()


async def test_the_end_of_a_gateway_ends_its_streams_at_once_and_another_one_goes_on(
    nats_broker: NatsServer, agent: tuple[Client, Agent]
) -> None:
    _, standing_in = agent
    async with gateway(nats_broker) as other:
        async with (
            gateway(nats_broker) as process,
            httpx.AsyncClient(base_url=process.url, timeout=30) as http,
            reading(http, "POST", "/v1/query", json=QUESTION) as stream,
        ):
            await eventually(lambda: standing_in.questions, "the question is on the queue")
            question, headers = standing_in.questions[0]
            for one in BEGUN:
                await standing_in.tell(question.query_id, one, headers)
            last = await stream.until("delta")
            os.kill(process.pid, signal.SIGTERM)
            started_at = time.monotonic()
            assert await stream.next() is None, "the stream ends without a last event"
            assert time.monotonic() - started_at < 5
        for one in REST:
            await standing_in.tell(question.query_id, one, headers)
        path = f"/v1/queries/{question.query_id}/events"
        async with (
            httpx.AsyncClient(base_url=other.url) as http,
            reading(http, "GET", path, last_event_id=last.id) as resumed,
        ):
            assert [one.type for one in await resumed.rest()] == [one.type for one in REST]
