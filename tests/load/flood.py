"""A producer that publishes small documents as fast as the broker acknowledges them, in a process of its own.

    python -m tests.load.flood --nats nats://127.0.0.1:4222 --documents 50000 --collection NAME

Connects without credentials, as any producer on this machine may. Up to `--in-flight` documents wait for their
acknowledgement at the same time; one that is refused is counted with its reason and sent again after a pause. Prints
one JSON object: acknowledged, duplicates, refusals, seconds, first and last sequence.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nats
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import APIError

from contracts import subjects
from tests.load.material import MakeDocument, documents_of

REFUSED_PAUSE_SECONDS = 0.5
ACK_SECONDS = 10.0


class Flood:
    """One run of a producer."""

    def __init__(self, jetstream: JetStreamContext, collection: str, document: MakeDocument) -> None:
        self._jetstream = jetstream
        self._collection = collection
        self._document = document
        self._sequences: list[int] = []
        self._duplicates = 0
        self._refused: Counter[str] = Counter()

    async def run(self, documents: range, in_flight: int) -> dict[str, Any]:
        """Publish every document until it is acknowledged."""
        numbers = iter(documents)
        started = time.monotonic()
        async with asyncio.TaskGroup() as publishers:
            for _ in range(in_flight):
                publishers.create_task(self._publish_all(numbers))
        seconds = time.monotonic() - started
        return {
            "acknowledged": len(set(self._sequences)),
            "duplicates": self._duplicates,
            "refused": dict(self._refused),
            "seconds": seconds,
            "per_second": len(self._sequences) / seconds,
            "first_sequence": min(self._sequences),
            "last_sequence": max(self._sequences),
        }

    async def _publish_all(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            payload = json.dumps(self._document(number)).encode()
            headers = {subjects.HEADER_MESSAGE_ID: f"{self._collection}-{number}"}
            # Nobody tells when there is room.
            while not await self._published(payload, headers):  # noqa: ASYNC110
                await asyncio.sleep(REFUSED_PAUSE_SECONDS)

    async def _published(self, payload: bytes, headers: dict[str, str]) -> bool:
        try:
            ack = await self._jetstream.publish(subjects.ingest("default"), payload, headers=dict(headers))
        except APIError as error:
            self._refused[f"{error.err_code} {error.description}"] += 1
            return False
        except (NatsError, TimeoutError) as error:
            self._refused[type(error).__name__] += 1
            return False
        self._duplicates += bool(ack.duplicate)
        self._sequences.append(ack.seq)
        return True


async def flood(given: argparse.Namespace) -> dict[str, Any]:
    """Connect, publish and return the figures."""
    client = await nats.connect(given.nats)
    try:
        jetstream = client.jetstream(timeout=ACK_SECONDS)
        document = documents_of(given.data, given.collection, given.seed, given.sentences)
        producer = Flood(jetstream, given.collection, document)
        numbers = range(given.first, given.first + given.documents)
        return await producer.run(numbers, given.in_flight)
    finally:
        await client.close()


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nats", required=True)
    parser.add_argument("--documents", type=int, required=True)
    parser.add_argument("--collection", required=True)
    parser.add_argument("--in-flight", type=int, default=256)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--first", type=int, default=0, help="number of the first document")
    parser.add_argument("--sentences", type=int, default=4, help="of each document")
    parser.add_argument("--data", type=Path, help="folder in BEIR's form; none = made documents")
    json.dump(asyncio.run(flood(parser.parse_args())), sys.stdout)


if __name__ == "__main__":
    main()
