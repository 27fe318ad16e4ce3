"""Row d: documents accepted, over HTTP and straight onto the broker, beside the broker's own acknowledged publishes."""

import asyncio
from typing import Final

import nats

from contracts import subjects
from contracts.topology import STREAMS
from tests.load.bench.row import Row, Yardstick, at_least
from tests.load.bench.stand import Stand, run_client
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
    http_rates: list[float] = []
    server_rates: list[float] = []
    for number in range(stand.sizes.rounds):
        stand.say(f"d: round {number + 1}")
        server_rates.append(_server_alone(stand))
        with stand.platform(name=f"nats-{number}") as platform:
            nats_rates.append(_publish(stand, platform.running.nats_url, subjects.ingest("default")))
        with stand.platform(name=f"http-{number}") as platform:
            http_rates.append(_post(stand, platform.url))
    beside = Yardstick("nats-server alone, acknowledged publishes to a file stream", tuple(server_rates))
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
        Row(LETTER, http, "/s", tuple(http_rates), limit=at_least(HTTP_PER_SECOND)),
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


def _post(stand: Stand, url: str) -> float:
    options = ("--path", "/v1/documents", "--documents", str(BATCH), "--status", "202", "--seed", str(stand.seed))
    size = ("--clients", str(CALLERS), "--seconds", str(stand.sizes.window_seconds / 2))
    found = run_client("http_client", "--url", url, *options, *size)
    if found["errors"]:
        raise RuntimeError(f"documents were refused: {found['errors']}")
    return float(found["per_second"]) * BATCH
