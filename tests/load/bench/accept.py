"""Row d: documents accepted, over HTTP and straight onto the broker, beside the broker's own acknowledged publishes."""

import asyncio
from typing import Final

import nats

from contracts import subjects
from contracts.topology import STREAMS
from tests.load.answers import processor_seconds
from tests.load.bench.row import Row, Yardstick, at_least
from tests.load.bench.stand import Platform, Stand, run_client
from tests.servers import nats_server

LETTER: Final = "d"
TITLE: Final = "documents accepted beside the broker's own publishes"
NATS_SHARE: Final = 0.5
HTTP_PER_SECOND: Final = 1_500.0
BATCH: Final = 20
CALLERS: Final = 8
SUBJECT: Final = "bench.publishes"


def measure(stand: Stand) -> list[Row]:
    """Return acknowledged documents a second; each round has a platform of its own, so that none has a backlog."""
    nats_rates: list[float] = []
    http_rounds: list[tuple[float, float]] = []
    server_rates: list[float] = []
    for number in range(stand.sizes.rounds):
        stand.say(f"d: round {number + 1}")
        server_rates.append(_server_alone(stand))
        with stand.platform(name=f"nats-{number}") as platform:
            nats_rates.append(_publish(stand, platform.running.nats_url, subjects.ingest("default")))
        with stand.platform(name=f"http-{number}") as platform:
            http_rounds.append(_post(stand, platform))
    beside = Yardstick("nats-server alone, acknowledged publishes to a file stream", tuple(server_rates))
    cost = tuple(spent * 1000 for _, spent in http_rounds)
    http = f"HTTP, {CALLERS} callers, {BATCH} documents a request: accepted a second"
    return [
        Row(
            LETTER,
            "broker: documents acknowledged a second",
            "/s",
            tuple(nats_rates),
            beside,
            limit=at_least(NATS_SHARE),
        ),
        Row(LETTER, http, "/s", tuple(rate for rate, _ in http_rounds), limit=at_least(HTTP_PER_SECOND)),
        Row(LETTER, "HTTP: the gateway's processor time of a document", "ms", cost),
    ]


def _server_alone(stand: Stand) -> float:
    with nats_server() as server:
        asyncio.run(_add_stream(server.url))
        return _publish(stand, server.url, SUBJECT)


async def _add_stream(url: str) -> None:
    """Add a stream with the storage and the window for duplicates of the platform's own."""
    ingest = next(stream for stream in STREAMS if stream.name == "INGEST")
    client = await nats.connect(url)
    await client.jetstream().add_stream(
        name="BENCH", subjects=[SUBJECT], storage="file", duplicate_window=ingest.dedupe_window_seconds
    )
    await client.close()


def _publish(stand: Stand, url: str, subject: str) -> float:
    options = ("--subject", subject, "--count", str(stand.sizes.flood_documents), "--seed", str(stand.seed))
    found = run_client("publisher", "--url", url, *options)
    if found["refused"]:
        raise RuntimeError(f"publishes were refused: {found['refused']}")
    return float(found["per_second"])


def _post(stand: Stand, platform: Platform) -> tuple[float, float]:
    """Return documents a second, and processor seconds of the gateway for each."""
    options = ("--path", "/v1/documents", "--documents", str(BATCH), "--status", "202", "--seed", str(stand.seed))
    size = ("--clients", str(CALLERS), "--seconds", str(stand.sizes.window_seconds / 2), "--warm-up", "0")
    before = processor_seconds(platform.running)["gateway"]
    found = run_client("http_client", "--url", platform.url, *options, *size)
    if found["errors"]:
        raise RuntimeError(f"documents were refused: {found['errors']}")
    spent = processor_seconds(platform.running)["gateway"] - before
    return float(found["per_second"]) * BATCH, spent / (len(found["latencies_ms"]) * BATCH)
