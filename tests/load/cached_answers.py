"""How long an answer takes that was given before, on a whole `rag up` of its own.

    python -m tests.load.cached_answers [--documents 5000] [--questions 40] [--rounds 25]

Loads made documents, asks each question once, then all of them again and again, one at a time and eight at a time over
kept connections of plain sockets. Prints one JSON object; times are milliseconds, from the first byte to the last.
`--url` measures a platform that runs and was loaded like this before.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from tests.load.made_documents import document
from tests.load.open_loop import Connections
from tests.platform_process import running_platform

COLLECTION = "reports"
PER_REQUEST = 100
LOAD_SECONDS = 1_200.0
USERS = (1, 8)


def load(url: str, number: int) -> None:
    """Load documents and wait until each is indexed, and shown."""
    with httpx.Client(base_url=url, timeout=60) as http:
        for start in range(0, number, PER_REQUEST):
            some = [document(each, COLLECTION) for each in range(start, min(number, start + PER_REQUEST))]
            while http.post("/v1/documents", json={"documents": some}).status_code != httpx.codes.ACCEPTED:
                time.sleep(1)
        until = time.monotonic() + LOAD_SECONDS
        while _unfinished(http, number):
            if time.monotonic() > until:
                raise TimeoutError(f"{number} documents were not indexed within {LOAD_SECONDS:g} s")
            time.sleep(1)
    # Fences and removals come a moment behind.
    time.sleep(2)


def _unfinished(http: httpx.Client, number: int) -> bool:
    collections = http.get("/v1/collections").raise_for_status().json()["items"]
    stages = http.get("/v1/admin/pipeline").raise_for_status().json()["stages"]
    waiting = sum(stage["backlog"] + stage["in_flight"] for stage in stages)
    indexed = sum(each["documents"] for each in collections if each["name"] == COLLECTION)
    return bool(waiting) or indexed < number


async def asked(connections: Connections, text: str, cached: bool) -> float:
    """Return how many milliseconds an answer took; RuntimeError when it does not come from where it should."""
    body = json.dumps({"question": text, "collection": COLLECTION}).encode()
    began = time.perf_counter()
    status, content = await connections.post("/v1/query", body)
    took = (time.perf_counter() - began) * 1000
    answer = json.loads(content)
    if status != httpx.codes.OK or not answer["answered"] or answer["cached"] < cached:
        raise RuntimeError(f"status {status}, wanted an answer, cached: {cached}: {content[:300]!r}")
    return took


async def measure(url: str, questions: list[str], rounds: int) -> dict[str, Any]:
    """Return the figures of first answers, and of repeated ones by number of users."""
    connections = Connections(url)
    found = {"first": figures([await asked(connections, text, cached=False) for text in questions])}
    for users in USERS:
        waiting = iter(questions * rounds)

        async def user(texts: Any = waiting) -> list[float]:
            return [await asked(connections, text, cached=True) for text in texts]

        began = time.perf_counter()
        took = [each for some in await asyncio.gather(*(user() for _ in range(users))) for each in some]
        found[f"cached, {users} at a time"] = {
            **figures(took),
            "answers_per_second": round(len(took) / (time.perf_counter() - began)),
        }
    return found


def asking(number: int) -> str:
    """Return a question that the first sentence of a document answers."""
    deed = document(number, COLLECTION)["text"].removeprefix("The ").partition(", and ")[0]
    return f"Which {deed}?"


def figures(took: list[float]) -> dict[str, float]:
    """Return percentiles, in milliseconds."""
    cuts = statistics.quantiles(took, n=100, method="inclusive")
    return {
        "answers": len(took),
        **{f"p{each}": round(cuts[each - 1], 2) for each in (50, 95, 99)},
        "max": round(max(took), 2),
    }


def main() -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=5_000)
    parser.add_argument("--url")
    parser.add_argument("--questions", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=25)
    chosen = parser.parse_args()
    texts = [asking(number) for number in range(chosen.questions)]
    if chosen.url:
        found = asyncio.run(measure(chosen.url, texts, chosen.rounds))
    else:
        with tempfile.TemporaryDirectory() as folder, running_platform(Path(folder) / "data") as platform:
            load(platform.url, chosen.documents)
            found = asyncio.run(measure(platform.url, texts, chosen.rounds))
    sys.stdout.write(json.dumps({"documents": chosen.documents, **found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
