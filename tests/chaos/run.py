"""One chaos run: a platform of its own, the plan and the queries through it, the faults into it, then the verdict."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx

from contracts.subjects import UPLOADS_BUCKET
from contracts.topology import CONSUMERS
from tests.chaos.faults import Fault, draw_faults
from tests.chaos.killer import Killer, Recovery
from tests.chaos.ledger import Ledger
from tests.chaos.observation import Observation, ask_api, read_database, read_index
from tests.chaos.plan import Plan, make_plan
from tests.chaos.processes import Consumption, Processes
from tests.chaos.producer import Producer
from tests.chaos.queries import Queries, QueryLog
from tests.chaos.verdict import Finding, Wrong, judge
from tests.platform_process import RunningPlatform, rag, running_platform

# So long nothing may wait or be in work before it counts as the end: a fact may still be on its way to a consumer.
QUIET_SECONDS: Final = 2.0
QUIET_POLL_SECONDS: Final = 0.5
UPLOADS_STREAM: Final = f"OBJ_{UPLOADS_BUCKET}"
API_SECONDS: Final = 30.0
OPENING_SECONDS: Final = 90.0
# What repairs differences by itself would hide them from the verdict; it is run by hand in the end.
SETTINGS: Final = {"RAG_PERSISTENCE_RECONCILE_INTERVAL_SECONDS": "0"}


@dataclass(frozen=True, slots=True)
class Options:
    """What a run is made of; the same options with the same seed plan the same writes and faults.

    Every process is killed `kills` times; those with `freeze_seconds` are frozen `freezes` times for so long.
    """

    seed: int
    documents: int
    seconds: float
    kills: int
    freezes: int
    freeze_seconds: Mapping[str, float]
    queries_per_second: float = 4.0
    settle_seconds: float = 300.0


@dataclass(slots=True)
class Outcome:
    """What a run came to; seconds are those of the faults and writes, and of settling after them."""

    options: Options
    plan: Plan
    ledger: Ledger = field(default_factory=Ledger)
    queries: QueryLog = field(default_factory=QueryLog)
    recoveries: list[Recovery] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    observation: Observation = field(default_factory=Observation)
    findings: list[Finding] = field(default_factory=list)
    busy_seconds: float = 0.0
    settle_seconds: float = 0.0

    @property
    def is_good(self) -> bool:
        """Tell whether nothing at all was wrong."""
        return not (self.findings or self.problems or self.queries.broken)


def run(options: Options, data: Path, say: Callable[[str], None]) -> Outcome:
    """Run and judge; the platform's data stays in `data`."""
    faults = draw_faults(
        options.seed,
        options.seconds,
        kills=options.kills,
        freezes=options.freezes,
        freeze_seconds=options.freeze_seconds,
    )
    moments = [fault.at for of_one in faults.values() for fault in of_one]
    outcome = Outcome(options, make_plan(options.seed, options.documents, options.seconds, moments))
    with running_platform(data, **SETTINGS) as platform:
        say(f"seed {options.seed}: {outcome.plan.writes} writes of {options.documents} documents")
        _open(platform.url, outcome)
        asyncio.run(_under_faults(platform, outcome, faults, say))
        say(f"settled after {outcome.settle_seconds:.1f} s; looking")
        with httpx.Client(base_url=platform.url, timeout=API_SECONDS) as http:
            ask_api(http, outcome.plan, outcome.observation)
    outcome.observation.rows = read_database(data)
    outcome.observation.points = read_index(data)
    # Last, because it repairs what it finds.
    with running_platform(data, **SETTINGS) as platform:
        outcome.observation.reconciliation = _reconcile(platform.url)
    outcome.findings += judge(outcome.plan, outcome.ledger, outcome.observation)
    return outcome


def _open(url: str, outcome: Outcome) -> None:
    """Make the collection, so that nobody asks for one that does not exist yet."""
    write = outcome.plan.opening
    reply = httpx.post(
        f"{url}/v1/documents", json={"documents": [dict(write.fields)]}, params={"wait_s": 60}, timeout=OPENING_SECONDS
    )
    receipt = reply.raise_for_status().json()["documents"][0]
    outcome.ledger.accept(write, receipt["revision"], attempts=1)


async def _under_faults(
    platform: RunningPlatform, outcome: Outcome, faults: Mapping[str, Sequence[Fault]], say: Callable[[str], None]
) -> None:
    options = outcome.options
    async with httpx.AsyncClient() as http:
        processes = Processes(platform, http)
        killer = Killer(processes, faults, answered=lambda kind, since: queries.log.answered(kind, since))
        queries = Queries(
            outcome.plan,
            platform.url,
            outcome.ledger,
            lambda since: killer.was_away("gateway", since),
            per_second=options.queries_per_second,
        )
        producer = Producer(outcome.plan, platform.url, platform.nats_url, outcome.ledger)
        started = time.monotonic()
        asking = asyncio.create_task(queries.run())
        await asyncio.gather(producer.run(started), killer.run(started))
        outcome.busy_seconds = time.monotonic() - started
        say(f"faults and writes are over after {outcome.busy_seconds:.0f} s")
        queries.stop()
        await asking
        left = await _settle(processes, options.settle_seconds)
        outcome.settle_seconds = time.monotonic() - started - outcome.busy_seconds
        outcome.observation.stored = await processes.stored("messages")
        outcome.observation.upload_bytes = (await processes.stored("bytes"))[UPLOADS_STREAM]
    outcome.queries, outcome.recoveries, outcome.problems = queries.log, killer.recoveries, killer.problems
    if left:
        outcome.findings.append(Finding(Wrong.STATE, "*", f"not settled after {options.settle_seconds:g} s: {left}"))


async def _settle(processes: Processes, bound_seconds: float) -> dict[str, Consumption]:
    """Wait until no consumer has anything left for a while; return what is left when the time is up."""
    until = time.monotonic() + bound_seconds
    quiet_since = None
    names = {consumer.name for consumer in CONSUMERS} - {"agent"}
    while time.monotonic() < until:
        found = await processes.consumption()
        busy = {name: found.get(name, Consumption(0, 0, -1)) for name in names if name not in found or found[name].left}
        now = time.monotonic()
        quiet_since = None if busy else quiet_since or now
        if quiet_since is not None and now - quiet_since >= QUIET_SECONDS:
            return {}
        await asyncio.sleep(QUIET_POLL_SECONDS)
    return busy


def _reconcile(url: str) -> dict[str, object]:
    """Return what the platform's own comparison of database and index found."""
    done = rag("doctor", "--reconcile", "--json", url=url)
    try:
        found: dict[str, object] = json.loads(done.stdout)
    except ValueError:
        return {"error": done.stdout + done.stderr}
    return found
