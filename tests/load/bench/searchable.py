"""Row i: time from a document's acceptance until a search finds it, idle and under load."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.load.bench.arithmetic import percentiles_ms
from tests.load.bench.row import Row, Yardstick
from tests.load.bench.stand import Platform, Stand, run_client
from tests.load.overload import begin

LETTER: Final = "i"
TITLE: Final = "time from accepted to searchable"
COLLECTION: Final = "watched"
SEARCHES_PER_SECOND: Final = 10.0
# Below what two cores embed: beyond it the time is that of the backlog.
DOCUMENTS_PER_SECOND: Final = 10.0
LOAD_SECONDS: Final = 3_600.0
END_SECONDS: Final = 120.0
CLIENT_SECONDS: Final = 1_800.0

Times = list[tuple[float, float]]


def measure(stand: Stand) -> list[Row]:
    """Return p50 and p99 of both states, in turns."""
    idle: Times = []
    loaded: Times = []
    with stand.platform() as platform:
        platform.fill(min(200, stand.sizes.documents), COLLECTION, sentences=4)
        for number in range(stand.sizes.rounds):
            stand.say(f"i: round {number + 1}")
            idle.append(_times(stand, platform))
            with load(platform):
                loaded.append(_times(stand, platform))
    return rows(idle, loaded)


def rows(idle: Times, loaded: Times) -> list[Row]:
    """Return the rows from (p50, p99) of each round."""
    found = []
    for place, name in enumerate(("p50", "p99")):
        quiet, busy = (tuple(pair[place] for pair in pairs) for pairs in (idle, loaded))
        state = f"{DOCUMENTS_PER_SECOND:g} documents and {SEARCHES_PER_SECOND:g} searches a second beside it"
        found.append(Row(LETTER, f"accepted to searchable, idle: {name}", "ms", quiet))
        found.append(Row(LETTER, f"accepted to searchable, {state}: {name}", "ms", busy, Yardstick("idle", quiet)))
    return found


@contextmanager
def load(platform: Platform) -> Iterator[None]:
    """Keep writers and searches going until the block ends."""
    size = ("--seconds", str(LOAD_SECONDS))
    writer = ("--nats", platform.running.nats_url, "--collection", "written", "--rate", str(DOCUMENTS_PER_SECOND))
    searches = ("--url", platform.url, "--collection", COLLECTION, "--rate", str(SEARCHES_PER_SECOND))
    running = [begin("bench.steady_writer", *writer, *size), begin("open_loop", *searches, *size)]
    try:
        yield
        ended = [process for process in running if process.poll() is not None]
        if ended:
            raise RuntimeError(f"the load ended before its time: {ended[0].args!r}")
    finally:
        for process in running:
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.communicate(timeout=END_SECONDS)


def _times(stand: Stand, platform: Platform) -> tuple[float, float]:
    options = ("--collection", COLLECTION, "--documents", str(stand.sizes.single_documents), "--seed", str(stand.seed))
    found = run_client("searchable_client", "--url", platform.url, *options, seconds=CLIENT_SECONDS)
    return percentiles_ms(found["milliseconds"])
