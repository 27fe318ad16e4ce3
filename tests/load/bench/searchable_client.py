"""A caller who sends one document after the other and looks until a search finds it, in a process of its own.

    python -m tests.load.bench.searchable_client --url URL --collection NAME --documents 60

Prints one JSON object: `milliseconds` from each 202 to the answer of the first search that has the document, and
`searches` that it took. Pauses between documents are random, so that they meet every phase of what works in batches.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from typing import Any
from urllib.parse import urlsplit

import uvloop

from tests.load.answers_users import END_OF_HEAD, Connection
from tests.load.made_documents import document

# Between two looks, which bounds how exact a time is.
LOOK_SECONDS = 0.02
PATIENCE_SECONDS = 300.0
LONGEST_PAUSE_SECONDS = 0.7


class Caller:
    """One caller on one connection."""

    def __init__(self, given: argparse.Namespace) -> None:
        self._given = given
        address = urlsplit(given.url)
        self._host, self._port = address.hostname or "127.0.0.1", address.port or 80
        self._run = time.time_ns()
        self._searches = 0

    async def run(self) -> dict[str, Any]:
        """Send every document."""
        chosen = random.Random(self._given.seed)
        found = []
        for number in range(self._given.documents):
            found.append(round(await self._until_found(number) * 1000, 1))
            await asyncio.sleep(chosen.uniform(0, LONGEST_PAUSE_SECONDS))
        return {"milliseconds": found, "searches": self._searches}

    async def _until_found(self, number: int) -> float:
        word = f"buoy{self._run}x{number}"
        made = document(number, self._given.collection, self._given.seed)
        name = f"{self._run}-{number}"
        sent = {"documents": [{**made, "id": name, "text": f"{made['text']} The {word} was painted."}]}
        connection = await Connection.open(self._host, self._port)
        try:
            await self._post(connection, "/v1/documents", sent, "202")
            accepted = time.perf_counter()
            search = {"query": word, "collection": self._given.collection, "mode": "sparse", "top_k": 1}
            async with asyncio.timeout(PATIENCE_SECONDS):
                # Nobody tells when a search would find it: that is what is measured.
                while not any(hit["document_id"] == name for hit in await self._hits(connection, search)):  # noqa: ASYNC110
                    await asyncio.sleep(LOOK_SECONDS)
            return time.perf_counter() - accepted
        finally:
            connection.close()

    async def _hits(self, connection: Connection, search: dict[str, Any]) -> list[dict[str, Any]]:
        self._searches += 1
        content = await self._post(connection, "/v1/search", search, "200")
        hits: list[dict[str, Any]] = json.loads(content)["hits"]
        return hits

    async def _post(self, connection: Connection, path: str, body: dict[str, Any], expected: str) -> bytes:
        head, _, content = (await connection.post(path, json.dumps(body).encode())).partition(END_OF_HEAD)
        status = head.split(b" ", 2)[1].decode()
        if status != expected:
            raise RuntimeError(f"{path} answered {status}: {content[:300].decode(errors='replace')}")
        return content


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--collection", required=True)
    parser.add_argument("--documents", type=int, required=True)
    parser.add_argument("--seed", type=int, default=7)
    json.dump(uvloop.run(Caller(parser.parse_args()).run()), sys.stdout)


if __name__ == "__main__":
    main()
