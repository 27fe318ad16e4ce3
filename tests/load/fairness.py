"""How long one document waits while another tenant's thousands are worked off, beside what the order of arrival costs.

    python -m tests.load.fairness [--documents N] [--singles N] [--rate-seconds S] [--json FILE]

One tenant publishes its documents onto the broker at once. Meanwhile other tenants publish a single one each, at random
moments, and its time to `indexed` is taken from persistence's fact. The order of arrival is computed from the backlog
that lay in front of the document and the rate of the same run. Then the rate of one tenant alone is measured with the
turns and the lane, and without them, alternately, on platforms of their own.
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from nats.aio.client import Client
from nats.aio.msg import Msg

from contracts import subjects
from contracts.codec import decode
from contracts.facts import DocumentIndexed
from tests.broker_asking import connected
from tests.load.machine import describe_machine
from tests.platform_process import PROJECT, RunningPlatform, running_platform

BOUND_SECONDS: Final = 30.0
HEAVY: Final = "heavy"
PUBLISHED_AT_ONCE: Final = 256
WARM_UP_SECONDS: Final = 15.0
LONGEST_PAUSE_SECONDS: Final = 10.0
# Ten minutes of work ahead and no lane: what the parser did before it was fair, bounded by the stream alone.
IN_ORDER_OF_ARRIVAL: Final = {
    "RAG_PARSER_AHEAD_SECONDS": "600",
    "RAG_PARSER_AHEAD_FLOOR_BYTES": str(2**30),
    "RAG_PARSER_EARLY_DOCUMENTS": "0",
    "RAG_PERSISTENCE_EARLY_MESSAGES": "0",
}
_WORDS: Final = (
    "lock",
    "canal",
    "harbour",
    "ship",
    "crane",
    "rope",
    "tide",
    "quay",
    "pilot",
    "cargo",
    "anchor",
    "chart",
)


def text_of(number: int) -> str:
    """Return some 120 words, the same for the same number."""
    chosen = random.Random(number)
    return f"Document {number}. " + " ".join(chosen.choice(_WORDS) for _ in range(120)) + "."


class Watcher:
    """Publishes as any tenant and notes when documents are indexed (monotonic seconds)."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._jetstream = client.jetstream(timeout=30)
        self.indexed: dict[tuple[str, str], float] = {}
        self.arrivals: list[float] = []
        self._changed = asyncio.Event()

    async def listen(self) -> None:
        """Listen to persistence's facts."""
        await self._client.subscribe(subjects.DOCUMENT_INDEXED, cb=self._on_indexed)

    async def _on_indexed(self, message: Msg) -> None:
        fact = decode(DocumentIndexed, message.data)
        self.indexed[fact.tenant, fact.document_id] = time.monotonic()
        if fact.tenant == HEAVY:
            self.arrivals.append(time.monotonic())
        self._changed.set()

    async def publish(self, tenant: str, number: int) -> None:
        """Publish one document and wait until it is stored."""
        body = {"id": f"{tenant}-{number}", "title": f"Number {number}", "text": text_of(number)}
        await self._jetstream.publish(subjects.ingest(tenant), json.dumps(body).encode())

    async def publish_many(self, tenant: str, documents: int) -> float:
        """Publish documents as fast as the broker takes them; return the seconds that took."""
        started = time.monotonic()
        for first in range(0, documents, PUBLISHED_AT_ONCE):
            numbers = range(first, min(documents, first + PUBLISHED_AT_ONCE))
            await asyncio.gather(*(self.publish(tenant, number) for number in numbers))
        return time.monotonic() - started

    async def seconds_to_indexed(self, tenant: str, patience_seconds: float) -> float:
        """Publish one document and return how long it took until it could be found."""
        started = time.monotonic()
        await self.publish(tenant, 0)
        async with asyncio.timeout(patience_seconds):
            while (tenant, f"{tenant}-0") not in self.indexed:
                self._changed.clear()
                await self._changed.wait()
        return self.indexed[tenant, f"{tenant}-0"] - started

    async def pending(self, stream: str, consumer: str) -> int:
        """Return how many messages a durable has left."""
        info = await self._jetstream.consumer_info(stream, consumer)
        return (info.num_pending or 0) + (info.num_ack_pending or 0)

    async def rate(self, seconds: float) -> float:
        """Return the heavy tenant's documents a second that become indexed, from now on."""
        before = len(self.arrivals)
        started = time.monotonic()
        await asyncio.sleep(seconds)
        return (len(self.arrivals) - before) / (time.monotonic() - started)


def say(text: str) -> None:
    """Write a line of the report."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


@contextmanager
def new_platform(**settings: str) -> Iterator[RunningPlatform]:
    """Run an empty platform."""
    with tempfile.TemporaryDirectory(prefix="rag-fairness-") as data, running_platform(Path(data), **settings) as found:
        yield found


async def connect(platform: RunningPlatform) -> Watcher:
    """Connect as the platform itself: the producer's user may publish for one tenant only."""
    client = await connected(platform)
    watcher = Watcher(client)
    await watcher.listen()
    return watcher


async def singles_behind_a_backlog(
    platform: RunningPlatform, documents: int, singles: int, seed: int
) -> dict[str, Any]:
    """Return how long each single document took beside the backlog in front of it."""
    watcher, moments = await connect(platform), random.Random(seed)
    publishing = await watcher.publish_many(HEAVY, documents)
    intake_left, published_at = await watcher.pending("INGEST", "persistence-intake"), time.monotonic()
    found: list[dict[str, float]] = []
    # The first comes at once: intake has the whole backlog in front of it then.
    for number in range(singles):
        tenant = f"single-{number}"
        backlog = documents - len(watcher.arrivals)
        seconds = await watcher.seconds_to_indexed(tenant, 600)
        found.append({"backlog": backlog, "seconds": round(seconds, 2)})
        say(f"  {tenant}: {seconds:6.2f} s behind {backlog} documents")
        await asyncio.sleep(moments.uniform(0, LONGEST_PAUSE_SECONDS))
    rate = len(watcher.arrivals) / (time.monotonic() - published_at)
    for single in found:
        single["in_order_of_arrival"] = round(single["backlog"] / rate, 1)
    return {
        "documents": documents,
        "published_seconds": round(publishing, 1),
        "intake_left_after_publishing": intake_left,
        "documents_per_second": round(rate, 2),
        "singles": found,
    }


async def rate_of_one_tenant(platform: RunningPlatform, seconds: float) -> float:
    """Return documents a second with only one tenant."""
    watcher = await connect(platform)
    await watcher.publish_many(HEAVY, int(max(2_000, seconds * 100)))
    await asyncio.sleep(WARM_UP_SECONDS)
    return round(await watcher.rate(seconds), 2)


def measure_rates(seconds: float, rounds: int) -> dict[str, Any]:
    """Return the rates with and without fairness, alternately: a shared machine drifts."""
    rates: dict[str, list[float]] = {"fair": [], "in_order_of_arrival": []}
    for _ in range(rounds):
        for name, settings in (("fair", {}), ("in_order_of_arrival", IN_ORDER_OF_ARRIVAL)):
            with new_platform(**settings) as platform:
                rates[name].append(asyncio.run(rate_of_one_tenant(platform, seconds)))
            say(f"  one tenant, {name}: {rates[name][-1]} documents/s")
    ratio = statistics.mean(rates["fair"]) / statistics.mean(rates["in_order_of_arrival"])
    return {"seconds": seconds, **rates, "ratio": round(ratio, 3)}


def report(found: dict[str, Any]) -> None:
    """Print the figures beside the bound and beside the order of arrival."""
    singles: Sequence[dict[str, float]] = found["backlog"]["singles"]
    waits = [single["seconds"] for single in singles]
    ordered = [single["in_order_of_arrival"] for single in singles]
    say(f"\n{len(waits)} single documents, to indexed: p50 {statistics.median(waits):.2f} s, max {max(waits):.2f} s")
    say(f"stated bound: {BOUND_SECONDS:g} s ({'held' if max(waits) <= BOUND_SECONDS else 'BROKEN'})")
    say(f"in order of arrival: p50 {statistics.median(ordered):.0f} s, max {max(ordered):.0f} s")
    if rates := found.get("rates"):
        say(f"one tenant alone: {rates['ratio']:.3f} of the rate in order of arrival")


def main() -> None:
    """Run the measurement; exit code 1 when the bound did not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=20_000, help="documents of the heavy tenant")
    parser.add_argument("--singles", type=int, default=10, help="other tenants, one document each")
    parser.add_argument("--rate-seconds", type=float, default=60.0, help="length of each measurement of the rate")
    parser.add_argument("--rounds", type=int, default=2, help="measurements of the rate, with and without (0 = none)")
    parser.add_argument("--seed", type=int, default=8, help="of the moments at which single documents come")
    parser.add_argument("--json", type=Path, default=PROJECT / "docs" / "benchmarks" / "fairness.json")
    given = parser.parse_args()
    found: dict[str, Any] = {"machine": describe_machine(), "bound_seconds": BOUND_SECONDS, "seed": given.seed}
    with new_platform() as platform:
        found["backlog"] = asyncio.run(singles_behind_a_backlog(platform, given.documents, given.singles, given.seed))
    if given.rounds:
        found["rates"] = measure_rates(given.rate_seconds, given.rounds)
    given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    report(found)
    if max(single["seconds"] for single in found["backlog"]["singles"]) > BOUND_SECONDS:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
