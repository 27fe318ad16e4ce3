"""Real TLS before a server of the loopback interface that speaks none itself; in a thread of its own."""

import asyncio
import contextlib
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.certificates import Certificate

HOST: Final = "127.0.0.1"
CALL_SECONDS: Final = 10.0
CHUNK_BYTES: Final = 64 * 1024
# What a PostgreSQL client says before TLS, and the answer that lets it begin.
SSL_REQUEST: Final = bytes.fromhex("0000000804d2162f")
SSL_ACCEPTED: Final = b"S"


@dataclass
class TLSProxy:
    """A running proxy; `passed_bytes` counts what of its clients came through to the server."""

    upstream_port: int
    context: ssl.SSLContext
    asks_first: bool
    port: int = 0
    passed_bytes: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until either side ends it."""
        task = asyncio.current_task()
        assert task is not None, "a stream server runs its callback in a task"
        self._tasks.add(task)
        try:
            # A client that is refused ends in the middle of whatever it is at.
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                if self.asks_first:
                    assert await reader.readexactly(len(SSL_REQUEST)) == SSL_REQUEST
                    writer.write(SSL_ACCEPTED)
                    await writer.start_tls(self.context)
                await self._carry(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(HOST, self.upstream_port)
        there = asyncio.create_task(self._pump(reader, upstream_writer, counted=True))
        back = asyncio.create_task(self._pump(upstream_reader, writer, counted=False))
        try:
            await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
        finally:
            there.cancel()
            back.cancel()
            upstream_writer.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(CHUNK_BYTES):
                if counted:
                    self.passed_bytes += len(chunk)
                sink.write(chunk)
                await sink.drain()

    async def end(self) -> None:
        """End every connection."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def server_context(own: Certificate, clients: Path | None = None) -> ssl.SSLContext:
    """Return what a server needs; with `clients` it lets in only whose certificate that authority signed."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(own.cert, own.key)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients)
    return context


@contextmanager
def tls_before(upstream_port: int, context: ssl.SSLContext, *, asks_first: bool = False) -> Iterator[TLSProxy]:
    """Run a proxy until the block ends; `asks_first`: TLS begins as PostgreSQL's clients ask for it."""
    proxy = TLSProxy(upstream_port, context, asks_first)
    loop = asyncio.new_event_loop()
    # What clients that refuse our certificate do to a connection is no news.
    loop.set_exception_handler(lambda _loop, _context: None)
    thread = threading.Thread(target=loop.run_forever, name="tls-proxy", daemon=True)
    thread.start()

    async def start() -> asyncio.Server:
        tls = None if asks_first else context
        return await asyncio.start_server(proxy.serve, HOST, 0, ssl=tls)

    async def stop() -> None:
        server.close()
        await proxy.end()

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(CALL_SECONDS)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(CALL_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(CALL_SECONDS)
        loop.close()


@contextmanager
def only_handshakes(context: ssl.SSLContext, *, asks_first: bool = False) -> Iterator[int]:
    """Run a server that ends every connection after its handshake, and tells why where that failed; yields its port.

    Servers on asyncio, as the proxy above is one, close without that last word. It speaks TLS 1.2, in which a client
    hears it before it can send anything.
    """
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            if asks_first:
                assert self.request.recv(len(SSL_REQUEST)) == SSL_REQUEST
                self.request.sendall(SSL_ACCEPTED)
            with contextlib.suppress(OSError):
                context.wrap_socket(self.request, server_side=True).close()

    with socketserver.ThreadingTCPServer((HOST, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join(CALL_SECONDS)
