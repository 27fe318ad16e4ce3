"""Searches on a fixed schedule, in a process of its own: each latency counts from the moment the search was due.

    python -m tests.load.open_loop --url URL --rate 10 --seconds 60 --collection NAME

A search that the platform keeps waiting does not hold up the next one, so a stall is seen by everybody whom it would
have kept waiting. Ends early at SIGTERM; prints one JSON object: `latencies_ms` in the order they were due, for each
also what the platform says of its parts, and `errors`.
"""

import argparse
import asyncio
import contextlib
import json
import random
import signal
import sys
import time
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

from tests.load.made_documents import question

# The gateway closes connections that rest for five seconds.
REST_SECONDS = 3.0
PATIENCE_SECONDS = 30.0

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Connections:
    """Kept HTTP/1.1 connections, the one used last first; plain sockets, so that the client costs next to nothing."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._host, self._port = address.hostname or "127.0.0.1", address.port or 80
        self._resting: list[tuple[float, Connection]] = []

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Return status and content of the answer."""
        reader, writer = await self._take()
        try:
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = int(answer.partition("content-length:")[2].partition("\r\n")[0])
            content = await reader.readexactly(length)
        except BaseException:
            writer.close()
            raise
        self._resting.append((time.monotonic(), (reader, writer)))
        return int(answer.split(" ", 2)[1]), content

    async def _take(self) -> Connection:
        while self._resting:
            since, connection = self._resting.pop()
            if time.monotonic() - since < REST_SECONDS:
                return connection
            connection[1].close()
        return await asyncio.open_connection(self._host, self._port)


class OpenLoop:
    """One run of searches."""

    def __init__(self, url: str, collection: str, seed: int) -> None:
        self._connections = Connections(url)
        self._collection = collection
        self._random = random.Random(seed)
        self._errors: Counter[str] = Counter()
        self._latencies_ms: dict[int, float] = {}
        self._parts_ms: dict[int, dict[str, float]] = {}
        self._stopped = asyncio.Event()

    async def run(self, rate: float, seconds: float) -> dict[str, Any]:
        """Search until the time is up and every answer is there."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._stopped.set)
        started = time.monotonic()
        number = 0
        async with asyncio.TaskGroup() as searches:
            while number / rate < seconds and not self._stopped.is_set():
                due = started + number / rate
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopped.wait(), max(0.0, due - time.monotonic()))
                searches.create_task(self._search(number, due))
                number += 1
        latencies = [self._latencies_ms[each] for each in sorted(self._latencies_ms)]
        parts = [self._parts_ms[each] for each in sorted(self._parts_ms)]
        return {"searches": number, "latencies_ms": latencies, "parts_ms": parts, "errors": dict(self._errors)}

    async def _search(self, number: int, due: float) -> None:
        # With a number that never comes twice: the vector of a query that was asked before is cached.
        query = f"{question(self._random)} {time.time_ns()}"
        body = json.dumps({"query": query, "collection": self._collection, "top_k": 10})
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                status, content = await self._connections.post("/v1/search", body.encode())
        except (OSError, EOFError, TimeoutError) as error:
            self._errors[type(error).__name__] += 1
            return
        latency_ms = (time.monotonic() - due) * 1000
        answer = json.loads(content)
        if status != 200 or not answer["hits"]:
            self._errors[f"{status} {answer.get('code', 'no hits')}"] += 1
            return
        self._latencies_ms[number] = latency_ms
        self._parts_ms[number] = answer["took_ms"]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--collection", required=True)
    parser.add_argument("--rate", type=float, default=10.0, help="searches a second")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()

    async def run() -> dict[str, Any]:
        loop = OpenLoop(arguments.url, arguments.collection, arguments.seed)
        return await loop.run(arguments.rate, arguments.seconds)

    json.dump(asyncio.run(run()), sys.stdout)


if __name__ == "__main__":
    main()
