"""Row e: answers from the cache beside a bare route of the same framework and server."""

from typing import Final

import httpx

from tests.load.answers import processor_seconds
from tests.load.bench.http_client import UNEXPECTED
from tests.load.bench.row import Row, Yardstick, at_least
from tests.load.bench.stand import Stand, helper, run_client
from tests.platform_process import wait_until

LETTER: Final = "e"
TITLE: Final = "cached answers beside a bare route"
SHARE: Final = 0.3
CALLERS: Final = 32
DEAREST: Final = 4
# An answer is made anew where the retriever is too busy to say in time whether the kept one still holds.
HIT_SHARE: Final = 0.99
COLLECTION: Final = "asked"
BODY: Final = f'{{"question": "When was it that the harbour opens?", "collection": "{COLLECTION}", "stream": false}}'


def measure(stand: Stand) -> list[Row]:
    """Return cached answers a second and those of the route, from the same callers."""
    found: list[float] = []
    beside: list[float] = []
    hits: list[float] = []
    costs: list[dict[str, float]] = []
    with stand.platform() as platform, helper("hello") as hello:
        platform.fill(min(100, stand.sizes.documents), COLLECTION)
        wait_until(lambda: _listens(hello.url), "the bare route answers")
        _rate(stand, platform.url, "--path", "/v1/query", "--body", BODY)
        for number in range(stand.sizes.rounds):
            stand.say(f"e: round {number + 1}")
            before = processor_seconds(platform.running)
            rate, answers, missed = _rate(
                stand, platform.url, "--path", "/v1/query", "--body", BODY, "--expect", '"cached":true'
            )
            spent = processor_seconds(platform.running)
            found.append(rate)
            costs.append({name: (spent[name] - before[name]) * 1000 / (answers + missed) for name in before})
            hits.append(answers / (answers + missed))
            beside.append(_rate(stand, hello.url, "--path", "/hello", "--method", "GET")[0])
    yardstick = Yardstick("a bare FastAPI route on the same server", tuple(beside))
    figure = f"cached answers, {CALLERS} callers: a second"
    dearest = sorted(costs[0], key=lambda name: -costs[0][name])[:DEAREST]
    return [
        Row(LETTER, figure, "/s", tuple(found), yardstick, limit=at_least(SHARE)),
        Row(LETTER, "share of the answers that came from the cache", "", tuple(hits), limit=at_least(HIT_SHARE)),
        Row(LETTER, "processor time of a cached answer", "ms", tuple(sum(each.values()) for each in costs)),
        *(Row(LETTER, f"of that {name}", "ms", tuple(each[name] for each in costs)) for name in dearest),
    ]


def _rate(stand: Stand, url: str, *options: str) -> tuple[float, int, int]:
    """Return calls a second as they should be, how many there were, and how many were answered otherwise."""
    size = ("--clients", str(CALLERS), "--seconds", str(stand.sizes.window_seconds / 2), "--warm-up", "0")
    found = run_client("http_client", "--url", url, *options, *size)
    missed = found["errors"].pop(UNEXPECTED, 0)
    if found["errors"] or not found["latencies_ms"]:
        raise RuntimeError(f"calls failed: {found['errors']}, {missed} answers came from no cache")
    return float(found["per_second"]), len(found["latencies_ms"]), missed


def _listens(url: str) -> bool:
    try:
        return httpx.get(f"{url}/hello", timeout=5).status_code == 200
    except httpx.TransportError:
        return False
