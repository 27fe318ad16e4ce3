"""Row a: search by 1, 8 and 32 callers beside the same work called in process."""

import shutil
from collections import defaultdict
from typing import Any, Final, NamedTuple

from tests.load.answers import processor_seconds
from tests.load.bench.arithmetic import percentiles_ms
from tests.load.bench.row import Relation, Row, Yardstick, at_least, at_most
from tests.load.bench.stand import Helper, Platform, Stand, helper, run_client

LETTER: Final = "a"
TITLE: Final = "search beside the same work in process"
CLIENTS: Final = (1, 8, 32)
COLLECTION: Final = "searched"
# The machine's cores, beyond which callers in process would only wait for one another.
THREADS: Final = 2
P50_EXCESS_MS: Final = 6.0
THROUGHPUT_SHARE: Final = 0.8
NAME: Final = "query embedding and index look-up in process"


class Round(NamedTuple):
    """What one round found; times in ms, processor time of a search by all processes of the side."""

    p50: float
    p99: float
    per_second: float
    processor: float


Found = dict[int, list[Round]]


def measure(stand: Stand) -> list[Row]:
    """Return latency and throughput by the number of callers."""
    with stand.platform() as platform:
        platform.fill(stand.sizes.documents, COLLECTION)
    # An index has one owner: the yardstick's is a copy.
    shutil.copytree(stand.folder / "data" / "index", stand.folder / "copy")
    options = ("--index", str(stand.folder / "copy"), "--collection", COLLECTION, *stand.material)
    found: Found = defaultdict(list)
    beside: Found = defaultdict(list)
    with stand.platform() as platform, helper("in_process", *options) as in_process:
        _search(stand, platform, 8)
        for number in range(stand.sizes.rounds):
            for clients in CLIENTS:
                stand.say(f"a: round {number + 1}, {clients} callers")
                found[clients].append(_search(stand, platform, clients))
                beside[clients].append(_in_process(stand, in_process, clients))
    return [row for clients in CLIENTS for row in rows(clients, found[clients], beside[clients])]


def rows(clients: int, found: list[Round], beside: list[Round]) -> list[Row]:
    """Return p50, p99, throughput and processor time of one number of callers."""
    threads = min(clients, THREADS)
    name = f"{NAME}, {threads} thread{'s' if threads > 1 else ''}"
    p50, p99, rate, processor = zip(*found, strict=True)
    own_p50, own_p99, own_rate, own_processor = zip(*beside, strict=True)
    who = f"search, {clients} caller{'s' if clients > 1 else ''}"
    p50_limit = at_most(P50_EXCESS_MS) if clients == min(CLIENTS) else None
    rate_limit = at_least(THROUGHPUT_SHARE) if clients == max(CLIENTS) else None
    return [
        Row(LETTER, f"{who}: p50", "ms", p50, Yardstick(name, own_p50), Relation.EXCESS, p50_limit),
        Row(LETTER, f"{who}: p99", "ms", p99, Yardstick(name, own_p99), Relation.EXCESS),
        Row(LETTER, f"{who}: searches a second", "/s", rate, Yardstick(name, own_rate), limit=rate_limit),
        Row(LETTER, f"{who}: processor time of a search", "ms", processor, Yardstick(name, own_processor)),
    ]


def _search(stand: Stand, platform: Platform, clients: int) -> Round:
    body = f'{{"query": "{{}}", "collection": "{COLLECTION}", "top_k": 10, "mode": "hybrid"}}'
    options = ("--path", "/v1/search", "--body", body, "--expect", '"document_id"', *stand.material)
    size = ("--clients", str(clients), "--seconds", str(stand.sizes.window_seconds), "--warm-up", "0")
    before = sum(processor_seconds(platform.running).values())
    run = run_client("http_client", "--url", platform.url, *options, *size)
    if run["errors"]:
        raise RuntimeError(f"searches failed: {run['errors']}")
    return _round(run, sum(processor_seconds(platform.running).values()) - before)


def _in_process(stand: Stand, in_process: Helper, clients: int) -> Round:
    run = in_process.ask(threads=min(clients, THREADS), seconds=stand.sizes.window_seconds)
    return _round(run, run["cpu_seconds"])


def _round(run: dict[str, Any], processor_seconds: float) -> Round:
    p50, p99 = percentiles_ms(run["latencies_ms"])
    return Round(p50, p99, run["per_second"], processor_seconds * 1000 / len(run["latencies_ms"]))
