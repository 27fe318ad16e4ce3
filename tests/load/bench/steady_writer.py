"""A producer with a fixed rate, in a process of its own: the same documents again and again, each time another text.

    python -m tests.load.bench.steady_writer --nats URL --collection NAME --rate 5 --documents 500 --seconds 60

Documents are new ones with `--documents 0`. Prints one JSON object: `published`, `late_seconds` (how far the last one
was behind its time) and `errors`.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from typing import Any

import nats
from nats.errors import Error as NatsError

from contracts import subjects
from tests.load.made_documents import document


async def write(given: argparse.Namespace) -> dict[str, Any]:
    """Publish until the time is up; the next document waits for the last one's acknowledgement."""
    client = await nats.connect(given.nats)
    jetstream, errors = client.jetstream(timeout=10), Counter[str]()
    started, number = time.monotonic(), 0
    try:
        while (due := number / given.rate) < given.seconds:
            await asyncio.sleep(max(0.0, started + due - time.monotonic()))
            try:
                await jetstream.publish(subjects.ingest("default"), payload(number, given))
            except (NatsError, TimeoutError) as error:
                errors[str(error) or type(error).__name__] += 1
            number += 1
    finally:
        await client.close()
    late = time.monotonic() - started - due
    return {"published": number - errors.total(), "late_seconds": late, "errors": dict(errors)}


def payload(number: int, given: argparse.Namespace) -> bytes:
    """Return the `number`-th message: the text of its own number under an id that comes again."""
    made = document(number, given.collection, given.seed)
    name = number % given.documents if given.documents else number
    return json.dumps({**made, "id": f"{given.collection}-{name}"}).encode()


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nats", required=True)
    parser.add_argument("--collection", required=True)
    parser.add_argument("--rate", type=float, required=True, help="documents a second")
    parser.add_argument("--documents", type=int, default=0, help="ids that come again and again; 0 = always new ones")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, default=7)
    json.dump(asyncio.run(write(parser.parse_args())), sys.stdout)


if __name__ == "__main__":
    main()
