"""A producer with next to no cost of its own, in a process of its own: acknowledged publishes over one connection.

    python -m tests.load.bench.publisher --url nats://127.0.0.1:4222 --subject NAME --count 20000

Speaks the broker's protocol on a plain socket, up to `--in-flight` messages at the same time, each counted once its
acknowledgement is there. The messages are made documents, ready before the clock starts. Prints one JSON object:
`per_second`, `seconds`, `refused`, `cpu_seconds`.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import urlsplit

import uvloop

from tests.load.made_documents import document

INBOX = "_INBOX.publisher"
END_SECONDS = 600.0


class Publisher(asyncio.Protocol):
    """One run: a window of messages that wait for their acknowledgement."""

    def __init__(self, messages: list[bytes], in_flight: int) -> None:
        self._left: Iterator[bytes] = iter(messages)
        self._count, self._in_flight = len(messages), in_flight
        self._buffer = bytearray()
        self._answered = 0
        self.refused: Counter[str] = Counter()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Those of uvloop are no subclass of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        options = {"verbose": False, "headers": True, "no_responders": True}
        self._transport.write(f"CONNECT {json.dumps(options)}\r\nSUB {INBOX} 1\r\n".encode())
        self._send(self._in_flight)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(error or ConnectionResetError("the broker closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        answered = 0
        while line_end := self._buffer.find(b"\r\n") + 1:
            line = bytes(self._buffer[: line_end - 1])
            if line.startswith((b"MSG ", b"HMSG ")):
                size, start = int(line.rsplit(b" ", 1)[1]), line_end + 1
                if len(self._buffer) < start + size + 2:
                    break
                self._judge(line, bytes(self._buffer[start : start + size]))
                del self._buffer[: start + size + 2]
                answered += 1
            else:
                del self._buffer[: line_end + 1]
                self._other(line)
        self._answered += answered
        self._send(answered)
        if self._answered >= self._count and not self.ended.done():
            self.ended.set_result(None)

    def _judge(self, line: bytes, content: bytes) -> None:
        if line.startswith(b"HMSG") or b'"error"' in content:
            self.refused[content[:120].decode(errors="replace")] += 1

    def _other(self, line: bytes) -> None:
        if line == b"PING":
            self._transport.write(b"PONG\r\n")
        elif line.startswith(b"-ERR") and not self.ended.done():
            self.ended.set_exception(RuntimeError(line.decode()))

    def _send(self, count: int) -> None:
        ready = [message for _, message in zip(range(count), self._left, strict=False)]
        if ready:
            self._transport.write(b"".join(ready))


def messages_of(given: argparse.Namespace) -> list[bytes]:
    """Return the publishes as they go over the wire, each with an id, as any careful producer sends it."""
    run = time.time_ns()
    made = (json.dumps(document(number, given.collection, given.seed)).encode() for number in range(given.count))
    return [_publish(given.subject, f"{run}-{number}", payload) for number, payload in enumerate(made)]


def _publish(subject: str, message_id: str, payload: bytes) -> bytes:
    head = f"NATS/1.0\r\nNats-Msg-Id: {message_id}\r\n\r\n".encode()
    line = f"HPUB {subject} {INBOX} {len(head)} {len(head) + len(payload)}\r\n".encode()
    return line + head + payload + b"\r\n"


async def publish(given: argparse.Namespace, messages: list[bytes]) -> dict[str, Any]:
    """Publish all and return the figures."""
    address = urlsplit(given.url)
    used, started = time.process_time(), time.perf_counter()
    transport, publisher = await asyncio.get_running_loop().create_connection(
        lambda: Publisher(messages, given.in_flight), address.hostname or "127.0.0.1", address.port or 4222
    )
    async with asyncio.timeout(END_SECONDS):
        await publisher.ended
    seconds = time.perf_counter() - started
    transport.close()
    return {
        "per_second": given.count / seconds,
        "seconds": seconds,
        "refused": dict(publisher.refused),
        "cpu_seconds": time.process_time() - used,
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--subject", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--collection", default="published")
    parser.add_argument("--in-flight", type=int, default=256)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    messages = messages_of(given)
    json.dump(uvloop.run(publish(given, messages)), sys.stdout)


if __name__ == "__main__":
    main()
