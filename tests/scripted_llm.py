"""An OpenAI-compatible chat endpoint that says what a test wants, in the way that a test wants, and counts.

Every request takes the next scripted reply, else what `default` makes of it. It runs on a thread of its own, so that
services in the test's loop and in other processes may ask it.
"""

import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

Request = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """One answer; times in seconds.

    `text` is streamed in `pieces` (words by default). `cut_after` pieces the connection breaks; `garbage` takes the
    place of the body; `pause` comes before the first piece, `gap` before every other one, `linger` behind the last one,
    before the stream ends. Without `finish` it just ends. `hold` is waited for behind `hold_after` pieces.
    """

    text: str = ""
    pieces: tuple[str, ...] = ()
    tool_calls: tuple[tuple[str, dict[str, Any]], ...] = ()
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    error: dict[str, Any] = field(default_factory=dict)
    pause: float = 0.0
    gap: float = 0.0
    linger: float = 0.0
    hold_after: int = 0
    hold: threading.Event | None = None
    cut_after: int | None = None
    garbage: bytes | None = None
    finish: str | None = "stop"
    usage: tuple[int, int] | None = (100, 10)


Default = Callable[[Request], Reply]


class ScriptedLlm:
    """A running endpoint; `requests` are the bodies it was sent, `abandoned` counts callers who left in the middle.

    `connections` counts those that were made. `seconds` are its own times, from the whole request to the last byte of
    the reply.
    """

    def __init__(self) -> None:
        self.url = ""
        self.script: deque[Reply] = deque()
        self.default: Default = lambda _request: Reply(text="I do not know.")
        self.requests: list[Request] = []
        self.seconds: list[float] = []
        self.keys: list[str] = []
        self.abandoned = 0
        self.connections = 0
        self.streams = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._answer(head.decode(), reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # The caller has gone, or the endpoint stops.
        finally:
            writer.close()

    async def _answer(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head.split("\r\n"))}
        body = await reader.readexactly(int(fields["content-length"]))
        started = time.perf_counter()
        request = json.loads(body)
        self.requests.append(request)
        self.keys.append(fields.get("authorization", "").removeprefix("Bearer "))
        reply = self.script.popleft() if self.script else self.default(request)
        await asyncio.sleep(reply.pause)
        if reply.garbage is not None:
            await _send(writer, 200, {"Content-Type": "text/event-stream"}, reply.garbage)
        elif reply.status != 200:
            body = json.dumps({"error": {"message": "scripted failure", **reply.error}}).encode()
            await _send(writer, reply.status, {"Content-Type": "application/json", **reply.headers}, body)
        else:
            await self._stream(reply, request, reader, writer)
        self.seconds.append(time.perf_counter() - started)

    async def _stream(
        self, reply: Reply, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.streams += 1
        head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head.encode())
        # A client says nothing more before it has read the answer; what can be read is the end.
        gone = asyncio.create_task(reader.read(1))
        try:
            for number, chunk in enumerate(_chunks(reply, request)):
                if number == reply.cut_after:
                    writer.transport.abort()
                    return
                if number and reply.gap:
                    await asyncio.wait([gone], timeout=reply.gap)
                if number == reply.hold_after and reply.hold is not None:
                    await _held(reply.hold, gone)
                if gone.done():
                    self.abandoned += 1
                    raise ConnectionResetError
                data = f"data: {chunk}\n\n".encode()
                writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                await writer.drain()
            if reply.linger:
                await asyncio.wait([gone], timeout=reply.linger)
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        finally:
            gone.cancel()


async def _held(hold: threading.Event, gone: "asyncio.Task[bytes]") -> None:
    """Wait for an event of another thread, or until the caller has gone."""
    while not (hold.is_set() or gone.done()):
        await asyncio.wait([gone], timeout=0.01)


async def _send(writer: asyncio.StreamWriter, status: int, headers: dict[str, str], body: bytes) -> None:
    lines = [f"HTTP/1.1 {status} Scripted", *(f"{name}: {value}" for name, value in headers.items())]
    head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""])
    writer.write(head.encode() + body)
    await writer.drain()


def _chunks(reply: Reply, request: Request) -> Iterator[str]:
    for piece in reply.pieces or tuple(_words(reply.text)):
        yield _chunk(request, {"content": piece})
    for index, (name, arguments) in enumerate(reply.tool_calls):
        function = {"name": name, "arguments": json.dumps(arguments)}
        call = {"index": index, "id": f"call-{index}", "type": "function", "function": function}
        yield _chunk(request, {"tool_calls": [call]})
    if reply.finish is not None:
        yield _chunk(request, {}, "tool_calls" if reply.tool_calls else reply.finish)
    if reply.usage is not None:
        sent, written = reply.usage
        usage = {"prompt_tokens": sent, "completion_tokens": written, "total_tokens": sent + written}
        yield json.dumps({**_frame(request), "choices": [], "usage": usage})
    yield "[DONE]"


def _words(text: str) -> Iterator[str]:
    for number, word in enumerate(text.split(" ")):
        yield word if not number else f" {word}"


def _chunk(request: Request, delta: dict[str, Any], finish: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return json.dumps({**_frame(request), "choices": [choice]})


def _frame(request: Request) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": request["model"]}


@contextmanager
def scripted_llm() -> Iterator[ScriptedLlm]:
    """Run an endpoint until the block ends; its `url` is a base URL as clients want it."""
    endpoint = ScriptedLlm()
    loop = asyncio.new_event_loop()

    async def start() -> asyncio.Server:
        return await asyncio.start_server(endpoint.serve, "127.0.0.1", 0)

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(start(), loop).result(timeout=10)
    endpoint.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield endpoint
    finally:
        asyncio.run_coroutine_threadsafe(_stop(server), loop).result(timeout=10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=10)
        loop.close()


async def _stop(server: asyncio.Server) -> None:
    server.close()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
