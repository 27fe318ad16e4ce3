"""Time from a question to the first words of its streamed answer, at 1, 8 and 32 users.

    python -m tests.load.first_delta [--documents 5000] [--seconds 15] [--users 1 8 32]

The language model is an endpoint of ours that answers at once, in a process of its own. Each user asks, reads the whole
answer and asks the next question. The clients are plain sockets in this process. Prints one JSON object.
"""

import argparse
import asyncio
import json
import multiprocessing
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from tests.load.made_documents import document, question
from tests.platform_process import RunningPlatform, running_platform
from tests.scripted_llm import Reply, scripted_llm

BATCH = 100
WAIT_SECONDS = 60
PIECES = ("The ", "answer ", "is ", "in ", "the ", "first ", "passage ", "[1].")


def serve_model(told: Connection) -> None:
    """Run the endpoint until the other end of the pipe closes."""
    with scripted_llm() as endpoint:
        endpoint.default = lambda _request: Reply(pieces=PIECES)
        told.send(endpoint.url)
        try:
            told.recv()
        except EOFError:
            return


def ingest(platform: RunningPlatform, documents: int) -> None:
    """Bring made documents in and wait until all are indexed."""
    with httpx.Client(base_url=platform.url, timeout=WAIT_SECONDS * 2) as http:
        for begin in range(0, documents, BATCH):
            batch = [document(number, "made") for number in range(begin, min(begin + BATCH, documents))]
            reply = http.post(f"/v1/documents?wait_s={WAIT_SECONDS}", json={"documents": batch})
            reply.raise_for_status()


async def ask(host: str, port: int, text: str) -> tuple[float, float]:
    """Return the seconds to the first words and to the end of one streamed answer."""
    body = json.dumps({"question": text, "stream": True}).encode()
    head = f"POST /v1/query HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    started = time.perf_counter()
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        await reader.readuntil(b"event: delta\n")
        first = time.perf_counter() - started
        await reader.readuntil(b"event: done\n")
        return first, time.perf_counter() - started
    finally:
        writer.close()


async def measure(url: str, users: int, seconds: float) -> dict[str, float]:
    """Return the figures of so many users at the same time."""
    address = urlsplit(url)
    until = time.perf_counter() + seconds
    taken: list[tuple[float, float]] = []

    async def user(number: int) -> None:
        chance = random.Random(f"{number}/{users}")
        while time.perf_counter() < until:
            # No two are alike: an answer or a vector from a cache would be another figure.
            text = f"{question(chance)} Section {chance.randrange(10**9)}?"
            taken.append(await ask(address.hostname or "", address.port or 80, text))

    await asyncio.gather(*(user(number) for number in range(users)))
    return {
        "users": users,
        "answers": len(taken),
        "answers_per_second": round(len(taken) / seconds, 1),
        **{f"first_delta_{name}": value for name, value in _percentiles([first for first, _ in taken]).items()},
        **{f"whole_{name}": value for name, value in _percentiles([whole for _, whole in taken]).items()},
    }


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "p50_ms": round(statistics.median(ordered) * 1000, 1),
        "p95_ms": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))] * 1000, 1),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=5_000)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--users", type=int, nargs="+", default=[1, 8, 32])
    chosen = parser.parse_args()
    here, there = multiprocessing.Pipe()
    model = multiprocessing.Process(target=serve_model, args=(there,), daemon=True)
    model.start()
    with (
        tempfile.TemporaryDirectory() as folder,
        running_platform(Path(folder), RAG_LLM_BASE_URL=here.recv(), RAG_LLM_MODEL="scripted") as platform,
    ):
        ingest(platform, chosen.documents)
        asyncio.run(measure(platform.url, 2, 3.0))
        found = [asyncio.run(measure(platform.url, users, chosen.seconds)) for users in chosen.users]
    model.kill()
    sys.stdout.write(json.dumps({"documents": chosen.documents, "figures": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
