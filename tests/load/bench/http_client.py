"""Callers of an HTTP server in a closed loop, in a process of its own; the same for the platform and its yardsticks.

    python -m tests.load.bench.http_client --url URL --path /v1/search --body '{"query": "{}"}' --clients 8 --seconds 10

Each call replaces `{}` in the body by a text that never comes twice; `--documents N` sends N made documents instead.
Without a body it is a GET. After `--warm-up` seconds counting begins. Prints one JSON object: `latencies_ms` of the
calls that ended within the window with the status that is expected, `per_second`, `errors`, `cpu_seconds`.
"""

import argparse
import asyncio
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvloop

from tests.load.answers_users import END_OF_HEAD, Connection
from tests.load.bench.arithmetic import rate_within
from tests.load.made_documents import document
from tests.load.material import questions_of

PATIENCE_SECONDS = 60.0
UNEXPECTED = "an answer without what was expected"


class Callers:
    """One window of calls."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._given = arguments
        address = urlsplit(arguments.url)
        self._host, self._port = address.hostname or "127.0.0.1", address.port or 80
        self._body = body_of(arguments)
        self._errors: Counter[str] = Counter()
        self._calls: list[tuple[float, float]] = []

    async def run(self) -> dict[str, Any]:
        """Call until the time is up."""
        started = time.perf_counter()
        first, last = started + self._given.warm_up, started + self._given.warm_up + self._given.seconds
        async with asyncio.TaskGroup() as group:
            for _ in range(self._given.clients):
                group.create_task(self._call_on(last))
        ends = [ended for _, ended in self._calls]
        within = [(ended - begun) * 1000 for begun, ended in self._calls if first <= ended < last]
        return {
            "latencies_ms": [round(each, 3) for each in within],
            "per_second": rate_within(ends, first, last),
            "errors": dict(self._errors),
        }

    async def _call_on(self, last: float) -> None:
        connection = await Connection.open(self._host, self._port)
        while (begun := time.perf_counter()) < last:
            if connection.closed:
                connection = await Connection.open(self._host, self._port)
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    content = await connection.exchange(self._given.method, self._given.path, self._body())
            except (OSError, TimeoutError) as error:
                self._errors[type(error).__name__] += 1
                connection.close()
                continue
            self._take(content, begun)
            if self._given.pause:
                await asyncio.sleep(self._given.pause)
        connection.close()

    def _take(self, content: bytes, begun: float) -> None:
        head, _, body = content.partition(END_OF_HEAD)
        status = head.split(b" ", 2)[1].decode()
        if status != self._given.status:
            self._errors[f"{status} {body[:200].decode(errors='replace')}"] += 1
        elif self._given.expect.encode() not in body:
            self._errors[UNEXPECTED] += 1
        else:
            self._calls.append((begun, time.perf_counter()))


def body_of(given: argparse.Namespace) -> Callable[[], bytes]:
    """Return what makes the body of the next call."""
    run, numbers, texts = time.time_ns(), itertools.count(), questions_of(given.data, given.seed)
    if given.documents:
        return lambda: _documents(run, next(numbers), given)
    if "{}" not in given.body:
        fixed: bytes = given.body.encode()
        return lambda: fixed
    before, _, after = given.body.partition("{}")
    return lambda: f"{before}{_quoted(next(texts))} {run + next(numbers)}{after}".encode()


def _quoted(text: str) -> str:
    """Return a text as it stands inside a JSON string."""
    return json.dumps(text)[1:-1]


def _documents(run: int, number: int, given: argparse.Namespace) -> bytes:
    first = number * given.documents
    made = [document(each, given.collection, given.seed) for each in range(first, first + given.documents)]
    return json.dumps({"documents": [{**one, "id": f"{run}-{one['id']}"} for one in made]}).encode()


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--method", default="POST")
    parser.add_argument("--body", default="")
    parser.add_argument("--documents", type=int, default=0, help="made documents of one call")
    parser.add_argument("--data", type=Path, help="folder of questions in BEIR's form; none = made ones")
    parser.add_argument("--collection", default="sent")
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--warm-up", type=float, default=1.0)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds of a caller between two calls")
    parser.add_argument("--status", default="200", help="of a call that counts")
    parser.add_argument("--expect", default="", help="what stands in the answer of a call that counts")
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    used = time.process_time()
    found = uvloop.run(Callers(given).run())
    json.dump({**found, "cpu_seconds": time.process_time() - used}, sys.stdout)


if __name__ == "__main__":
    main()
