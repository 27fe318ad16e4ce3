"""Users who ask one question after the other, in a process of its own: the closed loop of `tests.load.answers`.

    python -m tests.load.answers_users --url URL --users N --questions N --texts FILE [--mode agent] [--same] [--whole]

FILE holds a JSON list of questions; each is asked with a number that never comes twice, so that no cache knows it, or
with `--same` the first one only, again and again. Answers are streamed but with `--whole`. Prints one JSON object: for
each answer `first_ms` (until the first `delta`), `end_ms` and `steps`; `cached`, `declined`, `errors`, and what this
process took.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self, cast
from urllib.parse import urlsplit

import uvloop

FIRST_DELTA: Final = b"event: delta"
LAST_EVENT: Final = b"event: done"
END_OF_HEAD: Final = b"\r\n\r\n"
END_OF_CHUNKS: Final = b"\r\n0\r\n\r\n"
PATIENCE_SECONDS: Final = 60.0
KEPT_OF_STEPS: Final = ("kind", "duration_ms")
HEADERS: Final = "Host: x\r\nContent-Type: application/json\r\nAccept: text/event-stream\r\n"


class Connection(asyncio.Protocol):
    """One kept connection; bytes are only looked at as far as a measurement needs, so that it costs next to nothing."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._end: asyncio.Future[None] | None = None
        self.first: float | None = None
        self.closed = False

    @classmethod
    async def open(cls, host: str, port: int) -> Self:
        """Return a connection to a server."""
        _, made = await asyncio.get_running_loop().create_connection(cls, host, port)
        return made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Those of uvloop are no subclass of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        if self._end is not None and not self._end.done():
            self._end.set_exception(ConnectionResetError("the gateway closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self.first is None and FIRST_DELTA in self._received:
            self.first = time.perf_counter()
        if self._end is not None and not self._end.done() and self._complete():
            self._end.set_result(None)

    async def post(self, path: str, body: bytes) -> bytes:
        """Return head and content of the answer; `first` is when its first piece of text came."""
        return await self.exchange("POST", path, body)

    async def exchange(self, method: str, path: str, body: bytes) -> bytes:
        """Return head and content of the answer to a request of any method."""
        self._received.clear()
        self.first = None
        self._end = asyncio.get_running_loop().create_future()
        head = f"{method} {path} HTTP/1.1\r\n{HEADERS}Content-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)
        await self._end
        return bytes(self._received)

    def close(self) -> None:
        """Close it."""
        self._transport.close()

    def _complete(self) -> bool:
        if self._received.endswith(END_OF_CHUNKS):
            return True
        head, found, content = bytes(self._received).partition(END_OF_HEAD)
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        return bool(found and length.strip()) and len(content) >= int(length)


@dataclass
class Result:
    """What users saw; milliseconds."""

    first_ms: list[float] = field(default_factory=list)
    end_ms: list[float] = field(default_factory=list)
    cached: int = 0
    declined: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    steps: list[list[dict[str, Any]]] = field(default_factory=list)


class Users:
    """Users of one gateway who share a list of questions."""

    def __init__(self, url: str, bodies: list[bytes]) -> None:
        address = urlsplit(url)
        self._host, self._port = address.hostname or "127.0.0.1", address.port or 80
        self._bodies = iter(bodies)
        self.result = Result()

    async def run(self, users: int) -> None:
        """Ask every question, as many at a time as there are users."""
        async with asyncio.TaskGroup() as group:
            for _ in range(users):
                group.create_task(self._ask_on())

    async def _ask_on(self) -> None:
        connection = await Connection.open(self._host, self._port)
        for body in self._bodies:
            if connection.closed:
                connection = await Connection.open(self._host, self._port)
            started = time.perf_counter()
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    content = await connection.post("/v1/query", body)
            except (OSError, TimeoutError) as error:
                self.result.errors[type(error).__name__] += 1
                connection.close()
                connection = await Connection.open(self._host, self._port)
                continue
            self._take(content, started, connection.first, time.perf_counter())
        connection.close()

    def _take(self, content: bytes, started: float, first: float | None, ended: float) -> None:
        answer = _answer_in(content)
        if isinstance(answer, str):
            self.result.errors[answer] += 1
        elif not answer["answered"]:
            self.result.declined += 1
        else:
            self.result.end_ms.append(round((ended - started) * 1000, 3))
            self.result.cached += bool(answer.get("cached"))
            if steps := answer.get("steps"):
                self.result.steps.append([{name: step.get(name) for name in KEPT_OF_STEPS} for step in steps])
            if first is not None:
                self.result.first_ms.append(round((first - started) * 1000, 3))


def _answer_in(content: bytes) -> dict[str, Any] | str:
    """Return the answer, or what came instead."""
    head, _, rest = content.partition(END_OF_HEAD)
    status = head.split(b" ", 2)[1].decode()
    try:
        if b"text/event-stream" in head.lower():
            rest = rest.partition(LAST_EVENT)[2].partition(b"data: ")[2].partition(b"\n")[0]
        answer: dict[str, Any] = json.loads(rest)
        return answer if "answered" in answer else f"{status} {answer.get('code')}"
    except ValueError:
        return f"{status} without an answer"


def bodies_of(texts: list[str], arguments: argparse.Namespace) -> list[bytes]:
    """Return the requests."""
    fields = {"collection": arguments.collection, "mode": arguments.mode, "stream": not arguments.whole}
    run = time.time_ns() % 1_000_000_000

    def question(number: int) -> str:
        return texts[0] if arguments.same else f"{texts[number % len(texts)]} (case {run + number})"

    return [json.dumps({"question": question(number), **fields}).encode() for number in range(arguments.questions)]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--collection", required=True)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--users", type=int, required=True)
    parser.add_argument("--questions", type=int, required=True)
    parser.add_argument("--mode", default="rag")
    parser.add_argument("--same", action="store_true")
    parser.add_argument("--whole", action="store_true")
    arguments = parser.parse_args()
    users = Users(arguments.url, bodies_of(json.loads(arguments.texts.read_text(encoding="utf-8")), arguments))
    started, used = time.perf_counter(), time.process_time()
    uvloop.run(users.run(arguments.users))
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - used
    json.dump({**vars(users.result), "seconds": seconds, "cpu_seconds": cpu_seconds}, sys.stdout)


if __name__ == "__main__":
    main()
