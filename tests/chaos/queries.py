"""A steady stream of searches and questions, each judged by what was acknowledged before it was asked."""

import asyncio
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from tests.chaos.ledger import Ledger
from tests.chaos.plan import COLLECTION, Plan, sentence

# Longer than the gateway waits for an answer itself, and than it is ever frozen on top of that.
TIMEOUT_SECONDS: Final = 150.0
RETRY_SECONDS: Final = 0.5
SEARCH_SHARE: Final = 0.7
TOP_K: Final = 30
ANSWERED: Final = "answered"
PROBLEM_TYPE: Final = "application/problem+json"
_EDITION: Final = re.compile(r"of (\S+) in edition e(\d+) line")


@dataclass(slots=True)
class QueryLog:
    """Every query by its outcome.

    `broken` are those that ended in no way in which a query may end; `sent_again` counts those whose connection broke
    or was refused while the gateway's process was away, and which the client sent again until it came to an outcome.
    """

    outcomes: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    sent_again: int = 0
    broken: list[str] = field(default_factory=list)
    _latest_answered: dict[str, float] = field(default_factory=dict)

    def note(self, kind: str, outcome: str, started: float) -> None:
        """Count a query that ended now; `started` is monotonic."""
        self.outcomes[kind][outcome] += 1
        if outcome == ANSWERED:
            self.seconds[kind].append(time.monotonic() - started)
            self._latest_answered[kind] = max(started, self._latest_answered.get(kind, 0.0))

    def answered(self, kind: str, since: float) -> bool:
        """Tell whether a query that was sent after a monotonic moment got its answer."""
        return self._latest_answered.get(kind, 0.0) > since

    @property
    def total(self) -> int:
        """Return how many queries ended."""
        return sum(sum(counts.values()) for counts in self.outcomes.values())


class Queries:
    """Sends queries at a fixed rate, whether or not the ones before are answered.

    `gateway_was_away(since)` tells whether the gateway's process died, was frozen or was not ready since a monotonic
    time: only then may a connection break, and the query is sent again.
    """

    def __init__(
        self, plan: Plan, url: str, ledger: Ledger, gateway_was_away: Callable[[float], bool], *, per_second: float
    ) -> None:
        self.log = QueryLog()
        self._plan = plan
        self._url = url
        self._ledger = ledger
        self._gateway_was_away = gateway_was_away
        self._interval = 1 / per_second
        # One that is sent again after its delete may be seen before that is acknowledged.
        self._gone_for_good = plan.deleted
        self._random = random.Random(plan.seed)
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Send no more; `run` returns once those on their way have ended."""
        self._stopped.set()

    async def run(self) -> None:
        """Send until stopped, and wait for the last answer."""
        started = time.monotonic()
        sent = 0
        limits = httpx.Limits(max_connections=None)
        async with (
            httpx.AsyncClient(base_url=self._url, timeout=TIMEOUT_SECONDS, limits=limits) as http,
            asyncio.TaskGroup() as group,
        ):
            while not self._stopped.is_set():
                group.create_task(self._ask(http, self._random.random() < SEARCH_SHARE, self._query()))
                sent += 1
                await asyncio.sleep(max(0.0, started + sent * self._interval - time.monotonic()))

    def _query(self) -> str:
        name = self._random.choice(list(self._ledger.accepted) or list(self._plan.histories))
        return sentence(name, 1, self._random.randrange(3))

    async def _ask(self, http: httpx.AsyncClient, is_search: bool, text: str) -> None:
        kind = "search" if is_search else "question"
        started = time.monotonic()
        again = 0
        while True:
            gone = self._ledger.gone_at(time.monotonic()) & self._gone_for_good
            try:
                reply = await self._post(http, is_search, text)
            except httpx.TransportError as error:
                if self._may_break(error, started):
                    again = 1
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                self._break(kind, f"{type(error).__name__} with the gateway up: {error}", started)
                return
            outcome = _outcome(reply)
            if outcome is None:
                self._break(kind, f"{reply.status_code} {reply.text[:200]}", started)
                return
            self.log.note(kind, outcome, started)
            self.log.sent_again += again
            if outcome == ANSWERED:
                self._judge(kind, reply.json(), gone)
            return

    def _may_break(self, error: httpx.TransportError, started: float) -> bool:
        return not isinstance(error, httpx.TimeoutException) and self._gateway_was_away(started)

    async def _post(self, http: httpx.AsyncClient, is_search: bool, text: str) -> httpx.Response:
        if is_search:
            return await http.post("/v1/search", json={"query": text, "collection": COLLECTION, "top_k": TOP_K})
        return await http.post("/v1/query", json={"question": text, "collection": COLLECTION})

    def _break(self, kind: str, why: str, started: float) -> None:
        self.log.note(kind, "broken", started)
        self.log.broken.append(f"{kind} after {time.monotonic() - started:.1f} s: {why}")

    def _judge(self, kind: str, answer: dict[str, Any], gone: frozenset[str]) -> None:
        shown = shown_editions(answer["hits"] if kind == "search" else answer["citations"])
        for name, editions in shown.items():
            if len(editions) > 1:
                self.log.broken.append(f"{kind} shows editions {sorted(editions)} of {name} at once")
            if name in gone:
                self.log.broken.append(f"{kind} shows {name} after its delete was acknowledged")


def shown_editions(found: list[dict[str, Any]]) -> dict[str, set[int]]:
    """Return the editions of each document that hits or citations are of, by what their texts say."""
    shown: defaultdict[str, set[int]] = defaultdict(set)
    for each in found:
        for name, edition in _EDITION.findall(each.get("text") or each.get("quote") or ""):
            shown[name].add(int(edition))
    return shown


def _outcome(reply: httpx.Response) -> str | None:
    """Return what a query came to; None for what is neither an answer nor a problem that a caller can act on."""
    if reply.status_code == 200:
        return ANSWERED
    if reply.headers.get("Content-Type", "").startswith(PROBLEM_TYPE) and reply.status_code != 500:
        return f"{reply.status_code} {reply.json()['code']}"
    return None
