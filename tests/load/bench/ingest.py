"""Row b: ingestion beside a bare loop over the model."""

import json
import time
from pathlib import Path
from typing import Final

from tests.load.bench.row import Row, Yardstick, at_least
from tests.load.bench.stand import SENTENCES, Platform, Stand, run_client
from tests.load.material import documents_of

LETTER: Final = "b"
TITLE: Final = "ingestion beside a bare loop over the model"
SHARE: Final = 0.85


def measure(stand: Stand) -> list[Row]:
    """Return chunks a second, from the first document sent to the last one indexed."""
    found: list[float] = []
    beside: list[float] = []
    with stand.platform() as platform:
        # The first documents find everything cold.
        platform.fill(20, "warm-up")
        for number in range(stand.sizes.rounds):
            stand.say(f"b: round {number + 1}")
            collection = f"round-{number}"
            found.append(_ingest(platform, stand.sizes.batch_documents, collection))
            beside.append(run_client("bare_model", "--texts", str(_texts(stand, collection)))["chunks_per_s"])
    yardstick = Yardstick("bare loop over the model on the same texts, 2 threads", tuple(beside))
    return [Row(LETTER, "ingestion: chunks a second", "/s", tuple(found), yardstick, limit=at_least(SHARE))]


def _ingest(platform: Platform, documents: int, collection: str) -> float:
    before, started = platform.chunks(), time.monotonic()
    platform.fill(documents, collection)
    return (platform.chunks() - before) / (time.monotonic() - started)


def _texts(stand: Stand, collection: str) -> Path:
    """Write the same documents, title in front: all but the longest are one chunk, whose prefix the title is."""
    made = map(documents_of(stand.data, collection, stand.seed, SENTENCES), range(stand.sizes.batch_documents))
    path = stand.folder / f"{collection}.json"
    path.write_text(json.dumps([f"# {one['title']}\n\n{one['text']}" for one in made]), encoding="utf-8")
    return path
