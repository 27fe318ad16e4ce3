"""A TCP proxy before one server, whose line can be cut, held up, slowed down and spoiled while it runs.

In a test's own loop: `async with tcp_proxy(server.port) as proxy`, then `proxy.spoil(to_client=Fault(hold=True))`.
From a test without a loop: `with proxy_in_thread(server.port) as proxy`, with the same methods and no `await`.
"""

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

T = TypeVar("T")
HOST: Final = "127.0.0.1"
CHUNK_BYTES: Final = 64 * 1024
# What may be on its way in one direction of one connection; with more the sender waits, as on a real line.
CHUNKS_ON_THE_WAY: Final = 64
UPSTREAM_SECONDS: Final = 5.0
CALL_SECONDS: Final = 10.0
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to the bytes of one direction; without arguments they pass.

    `hold`: they wait until the line is good again, as before a frozen peer.
    `swallow`: they are lost; a connection that lost any is reset once the line is good again.
    `delay_seconds`, `jitter_seconds`: they arrive that much later (jitter: up to), in order.
    `bytes_per_second`: no more than these.
    `flip`: the share of bytes with one bit flipped; 0.01 spoils one in a hundred.
    `garbage`: every byte is replaced by a random one.
    `cut_after_bytes`: so many arrive on each connection from now on, then it ends.
    `reset`: whether that end is a reset (RST) or looks orderly (FIN).
    """

    hold: bool = False
    swallow: bool = False
    delay_seconds: float = 0.0
    jitter_seconds: float = 0.0
    bytes_per_second: float | None = None
    flip: float = 0.0
    garbage: bool = False
    cut_after_bytes: int | None = None
    reset: bool = True


PASS: Final = Fault()


class _Cut(Exception):
    """The connection ends here."""


@dataclass
class _Direction:
    """The fault that is set for one direction, and the connections' way to hear that it changed."""

    randomness: random.Random
    fault: Fault = PASS
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def set(self, fault: Fault) -> None:
        self.fault = fault
        self.changed.set()
        self.changed = asyncio.Event()

    def spoil(self, chunk: bytes) -> bytes:
        fault, chance = self.fault, self.randomness
        if fault.garbage:
            return chance.randbytes(len(chunk))
        if not fault.flip:
            return chunk
        return bytes(byte ^ (1 << chance.randrange(8)) if chance.random() < fault.flip else byte for byte in chunk)


class _Line:
    """One direction of one connection."""

    def __init__(self, direction: _Direction, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        self._direction = direction
        self._source = source
        self._sink = sink
        self._under: Fault | None = None
        self._passed = 0
        self._due = 0.0
        self.lost = False

    async def run(self) -> None:
        """Carry bytes until the source ends; _Cut when the fault ends the connection."""
        on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(CHUNKS_ON_THE_WAY)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._take(on_the_way))
            tasks.create_task(self._deliver(on_the_way))

    async def _take(self, on_the_way: asyncio.Queue[tuple[float, bytes]]) -> None:
        clock = asyncio.get_running_loop()
        while chunk := await self._source.read(CHUNK_BYTES):
            fault = self._direction.fault
            delay = fault.delay_seconds + self._direction.randomness.uniform(0, fault.jitter_seconds)
            # Never before what was sent earlier: jitter is no reordering.
            self._due = max(self._due, clock.time() + delay)
            await on_the_way.put((self._due, chunk))
        await on_the_way.put((0.0, b""))

    async def _deliver(self, on_the_way: asyncio.Queue[tuple[float, bytes]]) -> None:
        clock = asyncio.get_running_loop()
        while True:
            due, chunk = await on_the_way.get()
            await asyncio.sleep(max(0.0, due - clock.time()))
            while self._direction.fault.hold:
                await self._direction.changed.wait()
            if not chunk:
                break
            await self._pass(chunk)
        if self._sink.can_write_eof():
            self._sink.write_eof()

    async def _pass(self, chunk: bytes) -> None:
        fault = self._direction.fault
        if fault is not self._under:
            self._under, self._passed = fault, 0
        if fault.swallow:
            self.lost = True
            return
        allowed = len(chunk) if fault.cut_after_bytes is None else fault.cut_after_bytes - self._passed
        passing = self._direction.spoil(chunk[:allowed])
        self._passed += len(passing)
        self._sink.write(passing)
        await self._sink.drain()
        if allowed < len(chunk) or self._passed == fault.cut_after_bytes:
            raise _Cut
        if fault.bytes_per_second:
            await asyncio.sleep(len(passing) / fault.bytes_per_second)


class TcpProxy:
    """A running proxy; `port` stays its own for as long as it lives, also while it refuses connections."""

    def __init__(self, upstream_port: int, seed: int = 0) -> None:
        self._upstream_port = upstream_port
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind((HOST, 0))
        self.port: int = self._reserved.getsockname()[1]
        self.accepted = 0
        self._to_server = _Direction(random.Random(seed))
        self._to_client = _Direction(random.Random(seed + 1))
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, ...]] = {}
        self._lines: list[tuple[_Line, asyncio.Task[None]]] = []

    @property
    def open_connections(self) -> int:
        """Return how many clients are connected."""
        return len(self._connections)

    def spoil(self, *, to_server: Fault = PASS, to_client: Fault = PASS) -> None:
        """Set what happens to the bytes from now on, on open connections as well as new ones."""
        self._to_server.set(to_server)
        self._to_client.set(to_client)
        for line, task in self._lines:
            if line.lost and not (to_server.swallow or to_client.swallow):
                self._end(task, reset=True)

    def heal(self) -> None:
        """Let everything pass again."""
        self.spoil()

    def cut(self, *, reset: bool = True) -> None:
        """End every open connection, by RST or by FIN; new ones are taken."""
        for task in list(self._connections):
            self._end(task, reset=reset)

    async def go_away(self, *, reset: bool = True) -> None:
        """End every connection and refuse new ones, as a server that was stopped."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut(reset=reset)

    async def come_back(self) -> None:
        """Take connections, on the same port."""
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, HOST, self.port, reuse_address=True)

    async def close(self) -> None:
        """End for good."""
        await self.go_away()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self._reserved.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a stream server runs its callback in a task"
        self.accepted += 1
        self._connections[task] = (writer,)
        lines: list[_Line] = []
        reset = True
        try:
            async with asyncio.timeout(UPSTREAM_SECONDS):
                upstream = await asyncio.open_connection(HOST, self._upstream_port)
            self._connections[task] = (writer, upstream[1])
            lines = [_Line(self._to_server, reader, upstream[1]), _Line(self._to_client, upstream[0], writer)]
            self._lines += [(line, task) for line in lines]
            async with asyncio.TaskGroup() as tasks:
                for line in lines:
                    tasks.create_task(line.run())
            reset = False
        except BaseExceptionGroup as failures:
            # Both ends of a line that is cut fail, each in its own way; how it ends is for the fault to say.
            broken, unexpected = failures.split((_Cut, OSError))
            if unexpected is not None:
                raise unexpected from None
            assert broken is not None, "it holds what is not unexpected"
            reset = broken.subgroup(OSError) is not None or self._to_client.fault.reset
        except (OSError, TimeoutError):
            reset = True
        except asyncio.CancelledError:
            # The connection was ended from here, and how is settled; a stream server would log it as a failure.
            pass
        finally:
            writers = self._connections.pop(task)
            self._lines = [entry for entry in self._lines if entry[1] is not task]
            _close(writers, reset=reset)

    def _end(self, task: asyncio.Task[None], *, reset: bool) -> None:
        _close(self._connections[task], reset=reset)
        task.cancel()


def _close(writers: tuple[asyncio.StreamWriter, ...], *, reset: bool) -> None:
    for writer in writers:
        if writer.transport.is_closing():
            continue
        if reset:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            writer.transport.abort()
        else:
            writer.close()


@contextlib.asynccontextmanager
async def tcp_proxy(upstream_port: int, *, seed: int = 0) -> AsyncIterator[TcpProxy]:
    """Run a proxy before a server of the loopback interface; the seed makes its accidents repeatable."""
    proxy = TcpProxy(upstream_port, seed)
    await proxy.come_back()
    try:
        yield proxy
    finally:
        await proxy.close()


class ThreadedProxy:
    """A proxy whose loop runs in a thread; its methods return when they have taken effect."""

    def __init__(self, proxy: TcpProxy, loop: asyncio.AbstractEventLoop) -> None:
        self._proxy = proxy
        self._loop = loop
        self.port = proxy.port

    @property
    def accepted(self) -> int:
        """Return how many connections were taken so far."""
        return self._proxy.accepted

    @property
    def open_connections(self) -> int:
        """Return how many clients are connected."""
        return self._proxy.open_connections

    def spoil(self, *, to_server: Fault = PASS, to_client: Fault = PASS) -> None:
        """Set what happens to the bytes from now on."""

        async def spoil() -> None:
            self._proxy.spoil(to_server=to_server, to_client=to_client)

        self._call(spoil())

    def heal(self) -> None:
        """Let everything pass again."""
        self.spoil()

    def cut(self, *, reset: bool = True) -> None:
        """End every open connection; new ones are taken."""

        async def cut() -> None:
            self._proxy.cut(reset=reset)

        self._call(cut())

    def go_away(self, *, reset: bool = True) -> None:
        """End every connection and refuse new ones."""
        self._call(self._proxy.go_away(reset=reset))

    def come_back(self) -> None:
        """Take connections, on the same port."""
        self._call(self._proxy.come_back())

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_SECONDS)


@contextlib.contextmanager
def proxy_in_thread(upstream_port: int, *, seed: int = 0) -> Iterator[ThreadedProxy]:
    """Run a proxy in a thread of its own until the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="tcp-proxy", daemon=True)
    thread.start()

    def call(work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, loop).result(CALL_SECONDS)

    async def start() -> TcpProxy:
        proxy = TcpProxy(upstream_port, seed)
        await proxy.come_back()
        return proxy

    try:
        proxy = call(start())
        try:
            yield ThreadedProxy(proxy, loop)
        finally:
            call(proxy.close())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(CALL_SECONDS)
        loop.close()
