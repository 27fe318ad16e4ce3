"""The Qdrant server's adapter on a line that fails: what it cannot do now may be tried again, and soon.

A server of Qdrant is not needed for it: what answers here speaks just enough HTTP to fail in the ways a server can.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from qdrant_client import AsyncQdrantClient

from services.retriever.index import IndexUnavailable
from services.retriever.qdrant_server_index import QdrantServerIndex
from tests.contract.vector_indexes import DIMENSION, MODEL, point, query
from tests.tcp_proxy import Fault, TcpProxy, tcp_proxy

TIMEOUT_SECONDS = 1
OK = b'{"result": {"count": 3}, "status": "ok", "time": 0.001}'


class Answers:
    """What the server says to every request."""

    status, body = b"200 OK", OK


@asynccontextmanager
async def server(answers: Answers) -> AsyncIterator[int]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            [length] = [
                int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line
            ] or [0]
            await reader.readexactly(length)
            writer.write(b"HTTP/1.1 %s\r\ncontent-type: application/json\r\nconnection: close\r\n" % answers.status)
            writer.write(b"content-length: %d\r\n\r\n%s" % (len(answers.body), answers.body))
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # The line broke, as the test wants it.
        finally:
            writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()


Spoil = Callable[[TcpProxy, Answers], Awaitable[None]]


async def refused(proxy: TcpProxy, _answers: Answers) -> None:
    await proxy.go_away()


def spoilt(fault: Fault) -> Spoil:
    async def spoil(proxy: TcpProxy, _answers: Answers) -> None:
        proxy.spoil(to_client=fault)

    return spoil


def answering(status: bytes, body: bytes) -> Spoil:
    async def spoil(_proxy: TcpProxy, answers: Answers) -> None:
        answers.status, answers.body = status, body

    return spoil


FAILURES: dict[str, Spoil] = {
    "refused": refused,
    "frozen": spoilt(Fault(hold=True)),
    "cut in the middle": spoilt(Fault(cut_after_bytes=30)),
    "garbage on the line": spoilt(Fault(garbage=True)),
    "500": answering(b"500 Internal Server Error", b"{}"),
    "503 of a proxy": answering(b"503 Service Unavailable", b"<html>away</html>"),
    "429": answering(b"429 Too Many Requests", b"{}"),
    "a page": answering(b"200 OK", b"<html>please log in</html>"),
    "another shape": answering(b"200 OK", b'{"result": 7}'),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_what_fails_may_be_tried_again_and_works_again(failure: str) -> None:
    """INVARIANT: dependencies may go away; a search is refused in time, and a write waits for the index."""
    answers = Answers()
    async with server(answers) as port, tcp_proxy(port) as proxy:
        address = f"http://127.0.0.1:{proxy.port}"
        client = AsyncQdrantClient(url=address, timeout=TIMEOUT_SECONDS, check_compatibility=False)
        index = QdrantServerIndex(
            client, prefix="test", dimension=DIMENSION, fingerprint=MODEL, replication_factor=1, max_batch_points=8
        )
        assert await index.count() == 3
        await FAILURES[failure](proxy, answers)
        for work in (index.search(query()), index.upsert([point("a")]), index.count()):
            asked_at = time.monotonic()
            with pytest.raises(IndexUnavailable) as caught:
                await work
            assert time.monotonic() - asked_at < TIMEOUT_SECONDS + 1.5
            assert caught.value.away == (failure == "refused")
        answers.status, answers.body = b"200 OK", OK
        proxy.heal()
        await proxy.come_back()
        assert await index.count() == 3
        await index.close()
