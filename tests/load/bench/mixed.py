"""Row c: search while ingestion is saturated, and what ingestion keeps of its rate."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.load.bench.arithmetic import percentiles_ms
from tests.load.bench.row import Row, Yardstick, at_least, at_most
from tests.load.bench.stand import Platform, Stand, run_client
from tests.load.overload import begin, result_of

LETTER: Final = "c"
TITLE: Final = "search while ingestion is saturated"
SEARCHED: Final = "searched"
SEARCHED_DOCUMENTS: Final = 500
RATE: Final = 10.0
CLOSED_CLIENTS: Final = 4
P99_RATIO: Final = 2.5
INGEST_SHARE: Final = 0.7
# A p99 needs some hundred searches, and a rate several batches.
OPEN_WINDOWS: Final = 3.0
# More than is embedded meanwhile on any machine this is meant for.
BACKLOG_PER_SECOND: Final = 60
CHUNKS_MOVE_SECONDS: Final = 120.0


@dataclass
class Figures:
    """Rounds of one state of the platform; latencies in ms as (p50, p99), chunks a second by who searched."""

    open_loop: list[tuple[float, float]] = field(default_factory=list)
    closed_loop: list[tuple[float, float]] = field(default_factory=list)
    closed_rate: list[float] = field(default_factory=list)
    chunks: dict[str, list[float]] = field(default_factory=lambda: {"none": [], "open": [], "closed": []})


def measure(stand: Stand) -> list[Row]:
    """Return latencies idle and saturated, and the rates of ingestion with and without search."""
    idle, saturated = Figures(), Figures()
    with stand.platform() as platform:
        platform.fill(min(SEARCHED_DOCUMENTS, stand.sizes.documents), SEARCHED)
        _open(platform, stand.sizes.window_seconds)
        for number in range(stand.sizes.rounds):
            stand.say(f"c: round {number + 1}, idle")
            _searched(stand, platform, idle)
        _saturate(stand, platform)
        for number in range(stand.sizes.rounds):
            stand.say(f"c: round {number + 1}, saturated")
            saturated.chunks["none"].append(_chunks_during(platform, lambda: time.sleep(stand.sizes.window_seconds)))
            _searched(stand, platform, saturated)
        left = sum(platform.backlog().values())
    if not left:
        raise RuntimeError("the backlog was worked off before the last window ended; send more documents")
    return rows(idle, saturated)


def rows(idle: Figures, saturated: Figures) -> list[Row]:
    """Return the rows of both states."""
    found: list[Row] = []
    for figure, busy, quiet, limit in (
        (f"{RATE:g} searches a second (open loop)", saturated.open_loop, idle.open_loop, at_most(P99_RATIO)),
        (f"{CLOSED_CLIENTS} callers (closed loop)", saturated.closed_loop, idle.closed_loop, None),
    ):
        for place, name in enumerate(("p50", "p99")):
            yardstick = Yardstick("idle", _column(quiet, place))
            bound = limit if name == "p99" else None
            title = f"{figure} while ingestion is saturated: {name}"
            found.append(Row(LETTER, title, "ms", _column(busy, place), yardstick, limit=bound))
    alone = Yardstick("the same without search", tuple(saturated.chunks["none"]))
    for kind, who, share in (
        ("open", f"{RATE:g} searches a second", at_least(INGEST_SHARE)),
        ("closed", "4 callers", None),
    ):
        rounds = tuple(saturated.chunks[kind])
        found.append(Row(LETTER, f"ingestion with {who}: chunks a second", "/s", rounds, alone, limit=share))
    quiet_rate = Yardstick("idle", tuple(idle.closed_rate))
    title = f"{CLOSED_CLIENTS} callers while ingestion is saturated: searches a second"
    return [*found, Row(LETTER, title, "/s", tuple(saturated.closed_rate), quiet_rate)]


def _searched(stand: Stand, platform: Platform, figures: Figures) -> None:
    seconds = stand.sizes.window_seconds
    found: list[dict[str, Any]] = []
    figures.chunks["open"].append(
        _chunks_during(platform, lambda: found.append(_open(platform, OPEN_WINDOWS * seconds)))
    )
    figures.chunks["closed"].append(_chunks_during(platform, lambda: found.append(_closed(platform, seconds))))
    for run in found:
        if run["errors"]:
            raise RuntimeError(f"searches failed: {run['errors']}")
    figures.open_loop.append(percentiles_ms(found[0]["latencies_ms"]))
    figures.closed_loop.append(percentiles_ms(found[1]["latencies_ms"]))
    figures.closed_rate.append(found[1]["per_second"])


def _chunks_during(platform: Platform, work: Any) -> float:
    before, started = platform.chunks(), time.monotonic()
    work()
    return (platform.chunks() - before) / (time.monotonic() - started)


def _open(platform: Platform, seconds: float) -> dict[str, Any]:
    options = ("--rate", str(RATE), "--seconds", str(seconds), "--collection", SEARCHED)
    return result_of(begin("open_loop", "--url", platform.url, *options), seconds + 90)


def _closed(platform: Platform, seconds: float) -> dict[str, Any]:
    body = f'{{"query": "{{}}", "collection": "{SEARCHED}", "top_k": 10}}'
    options = ("--path", "/v1/search", "--body", body, "--expect", '"document_id"')
    size = ("--clients", str(CLOSED_CLIENTS), "--seconds", str(seconds))
    return run_client("http_client", "--url", platform.url, *options, *size)


def _saturate(stand: Stand, platform: Platform) -> None:
    """Send more than is embedded in all windows, and wait until chunks come out at the other end."""
    windows = stand.sizes.rounds * (OPEN_WINDOWS + 2) + OPEN_WINDOWS
    documents = int(windows * stand.sizes.window_seconds * BACKLOG_PER_SECOND)
    before = platform.chunks()
    result_of(platform.publish(documents, "flood"), CHUNKS_MOVE_SECONDS + documents / 500)
    deadline = time.monotonic() + CHUNKS_MOVE_SECONDS
    while platform.chunks() < before + 50:
        if time.monotonic() > deadline:
            raise RuntimeError(f"no chunks within {CHUNKS_MOVE_SECONDS:g} s of a flood of {documents} documents")
        time.sleep(0.5)


def _column(pairs: Sequence[tuple[float, float]], place: int) -> tuple[float, ...]:
    return tuple(pair[place] for pair in pairs)
