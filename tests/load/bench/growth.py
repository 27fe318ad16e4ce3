"""Row h: what a search, the memory and the disk cost as the index grows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.load.bench.arithmetic import quantile
from tests.load.bench.model_server import DIMENSION
from tests.load.bench.row import Row, Yardstick
from tests.load.bench.scale_out import remote
from tests.load.bench.stand import Platform, Stand, helper, run_client
from tests.load.overload import begin, result_of
from tests.load.process_watch import resident_mb, services
from tests.platform_process import wait_until

LETTER: Final = "h"
TITLE: Final = "cost by the size of the index"
COLLECTION: Final = "grown"
# Some sixty chunks a document: what is measured is the index, not the way there.
SENTENCES: Final = 1_200
FIRST_DOCUMENTS: Final = 4
FILL_SECONDS: Final = 1_200.0
BYTES_OF_FLOAT: Final = 4


def measure(stand: Stand) -> list[Row]:
    """Return search p50, memory of the retriever and size of the index; vectors are made, of the usual length."""
    p50: dict[int, list[float]] = {}
    memory: dict[int, float] = {}
    disk: dict[int, float] = {}
    with helper("model_server") as models, stand.platform(**remote(models.url)) as platform:
        grown = Growth(platform, stand.seed)
        for wanted in stand.sizes.chunks:
            chunks = grown.to(wanted)
            stand.say(f"h: {chunks:,} chunks")
            p50[chunks] = [_p50(stand, platform) for _ in range(stand.sizes.rounds)]
            memory[chunks] = resident_mb(services(platform.running)["retriever"], alone=False)
            disk[chunks] = size_mb(stand.folder / "data" / "index")
    return rows(p50, memory, disk)


def rows(p50: dict[int, list[float]], memory: dict[int, float], disk: dict[int, float]) -> list[Row]:
    """Return three rows for each size, from its number of chunks."""
    fewest = min(p50)
    found = []
    for chunks, rounds in p50.items():
        beside = Yardstick(f"with {fewest:,} chunks", tuple(p50[fewest])) if chunks != fewest else None
        found.append(Row(LETTER, f"{chunks:,} chunks: search p50", "ms", tuple(rounds), beside))
        vectors = Yardstick("their vectors alone", (chunks * DIMENSION * BYTES_OF_FLOAT / 1e6,))
        found.append(Row(LETTER, f"{chunks:,} chunks: memory of the retriever", "MB", (memory[chunks],), vectors))
        found.append(Row(LETTER, f"{chunks:,} chunks: index on disk", "MB", (disk[chunks],), vectors))
    return found


class Growth:
    """Fills a collection further and further."""

    def __init__(self, platform: Platform, seed: int) -> None:
        self._platform, self._seed, self._documents = platform, seed, 0

    def to(self, wanted: int) -> int:
        """Send documents until the index has at least so many chunks, and return how many it has."""
        self._send(FIRST_DOCUMENTS if not self._documents else 0)
        each = self._platform.chunks() / self._documents
        missing = wanted - self._platform.chunks()
        if missing > 0:
            self._send(int(missing / each) + 1)
        return self._platform.chunks()

    def _send(self, documents: int) -> None:
        if not documents:
            return
        options = ("--documents", str(documents), "--collection", COLLECTION, "--seed", str(self._seed))
        place = ("--first", str(self._documents), "--sentences", str(SENTENCES), "--in-flight", "8")
        result_of(begin("flood", "--nats", self._platform.running.nats_url, *options, *place), FILL_SECONDS)
        self._documents += documents
        self._platform.wait_indexed(self._documents, COLLECTION, FILL_SECONDS)
        # Clean-up and merging come behind the last document.
        wait_until(lambda: not sum(self._platform.backlog().values()), "the pipeline is empty", FILL_SECONDS)


def size_mb(folder: Path) -> float:
    """Return what the files of a folder take on the disk, in megabytes."""
    blocks: Sequence[int] = [each.stat().st_blocks for each in folder.rglob("*") if each.is_file()]
    return sum(blocks) * 512 / 1e6


def _p50(stand: Stand, platform: Platform) -> float:
    body = f'{{"query": "{{}}", "collection": "{COLLECTION}", "top_k": 10}}'
    options = ("--path", "/v1/search", "--body", body, "--expect", '"document_id"', "--seed", str(stand.seed))
    size = ("--clients", "1", "--seconds", str(stand.sizes.window_seconds))
    found = run_client("http_client", "--url", platform.url, *options, *size)
    if found["errors"]:
        raise RuntimeError(f"searches failed: {found['errors']}")
    return quantile(found["latencies_ms"], 0.5)
