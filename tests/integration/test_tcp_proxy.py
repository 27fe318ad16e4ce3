"""The proxy that the tests of absent dependencies stand on does what it says."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from tests.running import eventually
from tests.tcp_proxy import Fault, TcpProxy, proxy_in_thread, tcp_proxy

WORD = b"0123456789abcdef"
BARELY_SECONDS = 0.2
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """Answer with what was sent, until the client has nothing more to say."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(4096):
                writer.write(chunk)
                await writer.drain()
        except OSError:
            pass  # The client was cut off, as the test wants it.
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.fixture
async def proxy() -> AsyncIterator[TcpProxy]:
    async with echo() as port, tcp_proxy(port, seed=7) as running:
        yield running


@asynccontextmanager
async def connected(proxy: TcpProxy) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def exchange(streams: Streams, sent: bytes = WORD) -> bytes:
    reader, writer = streams
    writer.write(sent)
    async with asyncio.timeout(5):
        return await reader.readexactly(len(sent))


async def nothing_comes(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(BARELY_SECONDS):
            await reader.read(1)
    except TimeoutError:
        return True
    return False


async def test_bytes_pass_both_ways_and_an_orderly_end_too(proxy: TcpProxy) -> None:
    large = WORD * 50_000
    async with connected(proxy) as (reader, writer):
        assert await exchange((reader, writer), large) == large
        writer.write_eof()
        assert await reader.read() == b""
    await eventually(lambda: proxy.open_connections == 0, "both ends are closed")


@pytest.mark.parametrize("reset", [True, False])
async def test_a_cut_ends_open_connections_and_new_ones_are_taken(proxy: TcpProxy, *, reset: bool) -> None:
    async with connected(proxy) as (reader, writer):
        await exchange((reader, writer))
        proxy.cut(reset=reset)
        if reset:
            with pytest.raises(ConnectionResetError):
                await reader.read()
        else:
            assert await reader.read() == b""
    async with connected(proxy) as again:
        assert await exchange(again) == WORD


async def test_who_is_away_refuses_and_comes_back_on_the_same_port(proxy: TcpProxy) -> None:
    async with connected(proxy) as (reader, writer):
        await exchange((reader, writer))
        await proxy.go_away()
        with pytest.raises(ConnectionResetError):
            await reader.read()
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", proxy.port)
    await proxy.come_back()
    async with connected(proxy) as again:
        assert await exchange(again) == WORD


async def test_what_is_held_arrives_when_the_line_is_good_again(proxy: TcpProxy) -> None:
    async with connected(proxy) as (reader, writer):
        proxy.spoil(to_server=Fault(hold=True))
        writer.write(WORD)
        assert await nothing_comes(reader)
        proxy.heal()
        assert await reader.readexactly(len(WORD)) == WORD


async def test_what_is_swallowed_is_lost_and_the_connection_with_it(proxy: TcpProxy) -> None:
    async with connected(proxy) as (reader, writer), connected(proxy) as other:
        await exchange(other)
        proxy.spoil(to_client=Fault(swallow=True))
        writer.write(WORD)
        assert await nothing_comes(reader)
        proxy.heal()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        assert await exchange(other) == WORD, "it lost nothing"


async def test_a_delay_holds_for_each_way_and_does_not_reorder(proxy: TcpProxy) -> None:
    proxy.spoil(to_server=Fault(delay_seconds=0.1, jitter_seconds=0.1), to_client=Fault(delay_seconds=0.1))
    async with connected(proxy) as (reader, writer):
        started = time.monotonic()
        words = [b"%04d" % number for number in range(20)]
        for word in words:
            writer.write(word)
            await asyncio.sleep(0.005)
        assert await reader.readexactly(80) == b"".join(words)
        took = time.monotonic() - started
    assert took >= 0.2, "both ways"
    assert took < 20 * 0.2, "bytes travel side by side, not one after another"


async def test_a_throttled_line_takes_its_time(proxy: TcpProxy) -> None:
    proxy.spoil(to_client=Fault(bytes_per_second=20_000))
    async with connected(proxy) as streams:
        started = time.monotonic()
        for _ in range(10):
            await exchange(streams, b"x" * 800)
    assert time.monotonic() - started >= 9 * 800 / 20_000


async def test_flipped_bits_are_few_and_the_same_for_the_same_seed() -> None:
    sent, seen = bytes(10_000), []
    for _ in range(2):
        async with echo() as port, tcp_proxy(port, seed=3) as proxy:
            proxy.spoil(to_client=Fault(flip=0.01))
            async with connected(proxy) as streams:
                seen.append(await exchange(streams, sent))
    assert seen[0] == seen[1]
    flipped = [byte for byte in seen[0] if byte]
    assert 50 <= len(flipped) <= 200
    assert all(byte.bit_count() == 1 for byte in flipped)


async def test_garbage_has_the_length_of_what_was_sent_and_nothing_else(proxy: TcpProxy) -> None:
    async with connected(proxy) as streams:
        proxy.spoil(to_client=Fault(garbage=True))
        spoilt = await exchange(streams)
        assert spoilt != WORD
        proxy.heal()
        assert await exchange(streams) == WORD


@pytest.mark.parametrize("reset", [True, False])
async def test_a_line_that_is_cut_after_some_bytes_delivers_just_these(proxy: TcpProxy, *, reset: bool) -> None:
    proxy.spoil(to_client=Fault(cut_after_bytes=10, reset=reset))
    async with connected(proxy) as (reader, writer):
        writer.write(WORD)
        if reset:
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await reader.readexactly(len(WORD))
        else:
            assert await reader.read() == WORD[:10]
    await eventually(lambda: proxy.open_connections == 0, "nothing is left of it")


async def test_a_server_that_is_not_there_ends_the_connection(proxy: TcpProxy) -> None:
    async with tcp_proxy(1) as before_nothing, connected(before_nothing) as (reader, _):
        with pytest.raises(ConnectionResetError):
            await reader.read()


@contextmanager
def conversation(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
        yield line


def test_the_same_without_a_loop_of_ones_own() -> None:
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        upstream.settimeout(5)
        with proxy_in_thread(upstream.getsockname()[1]) as proxy:
            with conversation(proxy.port) as line:
                server, _ = upstream.accept()
                with server:
                    proxy.spoil(to_server=Fault(hold=True))
                    line.sendall(WORD)
                    server.settimeout(BARELY_SECONDS)
                    with pytest.raises(TimeoutError):
                        server.recv(1)
                    proxy.heal()
                    server.settimeout(5)
                    assert server.recv(100) == WORD
                    proxy.cut()
                    with pytest.raises(ConnectionResetError):
                        line.recv(1)
            assert proxy.accepted == 1
            proxy.go_away()
            with pytest.raises(ConnectionRefusedError), conversation(proxy.port):
                pass
            proxy.come_back()
            with conversation(proxy.port):
                upstream.accept()[0].close()
