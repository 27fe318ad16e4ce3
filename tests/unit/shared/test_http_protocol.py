"""A real server whose requests have bounded heads."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from shared.http_protocol import bounded_protocol
from tests.running import eventually
from tests.servers import free_port

LIMIT = 8_192
GATE = asyncio.Event()


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"] == "/slow":
        await GATE.wait()
    size = 0
    while (message := await receive())["type"] == "http.request":
        size += len(message.get("body", b""))
        if not message.get("more_body", False):
            break
    body = str(size).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def server() -> AsyncIterator[int]:
    GATE.clear()
    port = free_port()
    protocol = bounded_protocol(max_head_bytes=LIMIT, head_seconds=0.5)
    config = uvicorn.Config(
        app, port=port, http=protocol, server_header=False, lifespan="off", timeout_graceful_shutdown=1
    )
    running = uvicorn.Server(config)
    running.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]  # the test's own signals stay
    task = asyncio.create_task(running.serve())
    await eventually(lambda: running.started, "the server is up")
    yield port
    running.should_exit = True
    await task


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> "Connection":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def say(self, *pieces: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                self.writer.write(piece)
                await self.writer.drain()

    async def heard(self) -> bytes:
        async with asyncio.timeout(10):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            return head.split(b"\r\n")[0] + b" " + await self.reader.readexactly(length)

    async def ended(self) -> bool:
        async with asyncio.timeout(10):
            return await self.reader.read() == b""

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


REQUEST = b"GET /a HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([REQUEST + b"X-A: " + b"a" * 2 * LIMIT + b"\r\n\r\n"], id="one field"),
        pytest.param([REQUEST + b"".join(b"X-%d: a\r\n" % n for n in range(2_000)) + b"\r\n"], id="many fields"),
        pytest.param([REQUEST, *[b"X-A: " + b"a" * 500 + b"\r\n"] * 40], id="in pieces without an end"),
        pytest.param([REQUEST, b"X-A: ", *[b"a" * 500] * 40], id="one field without an end"),
        pytest.param([b"GET /", *[b"a" * 500] * 40], id="an address without an end"),
        pytest.param([b"GET /" + b"a" * 2 * LIMIT + b" HTTP/1.1\r\nHost: x\r\n\r\n"], id="an address"),
        pytest.param(
            [
                b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-A: ",
                *[b"a" * 50_000] * 40,
            ],
            id="a trailer without an end",
        ),
        pytest.param(
            [b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;", *[b"a" * 50_000] * 40],
            id="an extension of a chunk without an end",
        ),
    ],
)
async def test_a_head_over_the_limit_is_refused_and_the_server_goes_on(server: int, pieces: list[bytes]) -> None:
    other, caller = await Connection.open(server), await Connection.open(server)
    await other.say(REQUEST + b"\r\n")
    assert await other.heard() == b"HTTP/1.1 200 OK 0"
    await caller.say(*pieces)
    answer = await caller.heard()
    assert answer.startswith(b"HTTP/1.1 431 "), answer
    assert b"8192 bytes" in answer
    assert await caller.ended()
    await other.say(REQUEST + b"\r\n")
    assert await other.heard() == b"HTTP/1.1 200 OK 0"
    await caller.close()
    await other.close()


async def test_what_is_within_the_limit_passes_whatever_its_body(server: int) -> None:
    caller = await Connection.open(server)
    body = b"b" * 500_000
    head = b"POST /a HTTP/1.1\r\nHost: x\r\nX-A: %s\r\n" % (b"a" * (LIMIT - 200))
    await caller.say(head + b"Content-Length: %d\r\n\r\n" % len(body) + body, head + b"Content-Length: 1\r\n\r\n1")
    assert await caller.heard() == b"HTTP/1.1 200 OK 500000"
    assert await caller.heard() == b"HTTP/1.1 200 OK 1"
    await caller.close()


@pytest.mark.parametrize("said", [b"", REQUEST], ids=["nothing", "half a head"])
async def test_a_connection_that_says_nothing_is_closed(server: int, said: bytes) -> None:
    caller = await Connection.open(server)
    await caller.say(said)
    assert await caller.ended()
    await caller.close()


async def test_stray_bytes_behind_a_request_do_not_end_its_answer(server: int) -> None:
    caller = await Connection.open(server)
    await caller.say(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /b")
    # Longer than a head may take.
    await asyncio.sleep(0.8)
    GATE.set()
    assert await caller.heard() == b"HTTP/1.1 200 OK 0"
    await caller.close()


async def test_no_answer_says_what_serves_it(server: int) -> None:
    caller = await Connection.open(server)
    await caller.say(REQUEST + b"\r\n")
    head = await caller.reader.readuntil(b"\r\n\r\n")
    assert b"server:" not in head.lower()
    assert b"uvicorn" not in head.lower()
    await caller.close()
