"""What the platform does under loads that no test machine can make: backlog, waiting time and replicas over time.

    python -m tests.load.simulation [--keep]
    python -m tests.load.simulation [--scalers FILE] [--times FILE] [--documents N] [--questions N] [--answer-seconds S]

Each part is a queue with replicas; a replica takes so many messages a second as its slots and its cores allow, by the
service times of `docs/benchmarks/service-times.json`. Replicas come and go as KEDA and the autoscaler behind it decide
by the manifests. Load begins at once and goes on for half an hour. Time moves in steps, messages are counted, not told
apart; the wait among those that come at random is added from queueing theory. `--keep` writes the table into
`docs/scaling.md`; the second form plays loads of one's own.
"""

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from tests.load.bench.table import write_between_marks
from tests.load.simulation_scaling import Autoscaler, Scaling, Trigger, read_scalings
from tests.platform_process import PROJECT

TIMES: Final = PROJECT / "docs" / "benchmarks" / "service-times.json"
SCALERS: Final = PROJECT / "deploy" / "kubernetes" / "components" / "autoscaling-keda" / "scalers.yaml"
PAGE: Final = PROJECT / "docs" / "scaling.md"
START: Final = "<!-- table of make simulate -->"
END: Final = "<!-- end of the table of make simulate -->"

STEP_SECONDS: Final = 0.25
LOAD_SECONDS: Final = 1_800.0
CORES: Final = 2.0
# What a pod is planned for; beyond it waiting grows faster than load.
UTILISATION: Final = 0.7
ANSWER_SECONDS: Final = 3.0
# RAG_AGENT_WORKERS, RAG_GATEWAY_MAX_WAITING, RAG_MAX_CONCURRENT_REQUESTS.
AGENT_WORKERS: Final = 64
SEATS: Final = 1_000
REQUESTS: Final = 64
DOCUMENTS_PER_MINUTE: Final = (10, 1_000, 100_000)
QUESTIONS_PER_SECOND: Final = (1, 100, 5_000)
# Which part holds the messages of a durable until they are done.
DURABLES: Final[Mapping[str, str]] = {
    "INGEST/parser": "parser",
    "CHUNKS/embedder": "embedder-bulk",
    "VECTORS/retriever": "retriever",
    "FACTS/persistence": "persistence",
    "QUERIES/agent": "agent",
}
UNLIMITED: Final = 100_000
# Chunks that the parser hands over in any case, RAG_PARSER_AHEAD_FLOOR_BYTES of some two kilobytes each.
AHEAD_FLOOR: Final = 128.0
# RAG_PARSER_AHEAD_SECONDS.
AHEAD_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Part:
    """One service on the way: a message holds one of `slots` for `seconds` and takes `processor_seconds` of a core.

    With `ahead_seconds` the part before it stops while so much work, at the present rate, waits here.
    """

    name: str
    seconds: float
    slots: int
    processor_seconds: float
    scaling: Scaling
    cores: float = CORES
    ahead_seconds: float = math.inf

    @property
    def per_second(self) -> float:
        """Return how many messages a replica takes in a second."""
        by_slots = self.slots / self.seconds
        return min(by_slots, self.cores / self.processor_seconds) if self.processor_seconds else by_slots

    def replicas_for(self, rate: float) -> int:
        """Return how many replicas take a rate with room to spare."""
        return max(1, math.ceil(rate / (self.per_second * UTILISATION) - 1e-9))


@dataclass
class Queue:
    """A part during a run: what waits, and what has come and gone at each step."""

    part: Part
    autoscaler: Autoscaler
    waiting: float = 0.0
    rate: float = 0.0
    replicas: list[int] = field(default_factory=list)
    backlog: list[float] = field(default_factory=list)
    came: list[float] = field(default_factory=lambda: [0.0])
    left: list[float] = field(default_factory=lambda: [0.0])

    def room(self, ready: int) -> float:
        """Return how many messages the part before may still hand over."""
        if math.isinf(self.part.ahead_seconds):
            return math.inf
        bound = max(AHEAD_FLOOR, self.part.ahead_seconds * ready * self.part.per_second)
        return max(0.0, bound - self.waiting)

    def take(self, arriving: float, room_behind: float, ready: int) -> float:
        """Move on by a step and return what goes to the next part."""
        self.waiting += arriving
        done = min(self.waiting, ready * self.part.per_second * STEP_SECONDS, room_behind)
        self.waiting -= done
        self.rate = done / STEP_SECONDS
        self.came.append(self.came[-1] + arriving)
        self.left.append(self.left[-1] + done)
        self.replicas.append(ready)
        self.backlog.append(self.waiting)
        return done

    @property
    def in_work(self) -> float:
        """Return how many messages are in slots, by Little's law."""
        return self.rate * self.part.seconds

    def lately(self) -> str:
        """Return how many replicas there were in the last quarter of an hour, the fewest and the most of them."""
        last = self.replicas[-int(900 / STEP_SECONDS) :]
        return f"{last[-1]:,}" if min(last) == max(last) else f"{min(last):,} to {max(last):,}"

    def longest_wait(self) -> float:
        """Return how long the message that waited longest did, in seconds; first come, first served."""
        came, left = np.asarray(self.came), np.asarray(self.left)
        if not left[-1]:
            return 0.0
        counts = np.linspace(0.0, left[-1], 2_000)[1:]
        return float(max(0.0, (_reached(left, counts) - _reached(came, counts)).max()))


def _reached(totals: Any, counts: Any) -> Any:
    """Return when each count was reached, in seconds, between steps in proportion."""
    moments = np.arange(len(totals)) * STEP_SECONDS
    rising = np.concatenate(([True], np.diff(totals) > 0))
    # The moment at which a standing total begins to rise again belongs to it.
    rising[:-1] |= np.diff(totals) > 0
    return np.interp(counts, totals[rising], moments[rising])


def simulate(
    parts: Sequence[Part], rate: float, seconds: float, start_seconds: float, tail: float = 0.0
) -> list[Queue]:
    """Run a load of so many messages a second from nothing, and the time after it; return the parts' histories."""
    queues = [Queue(part, Autoscaler(part.scaling, start_seconds)) for part in parts]
    for step in range(int((seconds + tail) / STEP_SECONDS)):
        now = step * STEP_SECONDS
        metrics = _metrics(queues)
        for queue in queues:
            there = queue.waiting + queue.in_work
            own = metrics | {"requests": there, "streams": there, "cpu": queue.rate * queue.part.processor_seconds}
            queue.autoscaler.look(now, own)
        _move(queues, rate * STEP_SECONDS if now < seconds else 0.0, now)
    return queues


def _metrics(queues: Sequence[Queue]) -> dict[str, float]:
    found = {queue.part.name: queue.waiting + queue.in_work for queue in queues}
    return {durable: found.get(name, 0.0) for durable, name in DURABLES.items()}


def _move(queues: Sequence[Queue], arriving: float, now: float) -> None:
    ready = [queue.autoscaler.ready(now) for queue in queues]
    rooms = [queue.room(count) for queue, count in zip(queues, ready, strict=True)]
    for place, queue in enumerate(queues):
        behind = rooms[place + 1] if place + 1 < len(queues) else math.inf
        arriving = queue.take(arriving, behind, ready[place])


def wait_in_line(rate: float, part: Part, replicas: int) -> float:
    """Return the mean wait of messages that come at random where replicas share a queue, in seconds (Erlang C, M/M/c).

    Infinity when they come faster than they are taken.
    """
    servers = max(1, round(replicas * part.per_second * part.seconds))
    service = servers / (replicas * part.per_second)
    offered = rate * service
    if offered >= servers:
        return math.inf
    # By the recursion of Erlang B, which no factorial overflows.
    blocked = 1.0
    for server in range(1, servers + 1):
        blocked = offered * blocked / (server + offered * blocked)
    share = offered / servers
    return blocked / (1 - share * (1 - blocked)) * service / (servers * (1 - share))


def document_parts(times: Mapping[str, Any], scalings: Mapping[str, Scaling]) -> list[Part]:
    """Return the way of a document of one chunk."""
    spent = times["documents"]["processor_ms"]
    made = [_computing(name, spent[name] / 1000, scalings[name]) for name in spent]
    return [replace(part, ahead_seconds=AHEAD_SECONDS) if part.name == "embedder-bulk" else part for part in made]


def question_parts(
    times: Mapping[str, Any], scalings: Mapping[str, Scaling], answer_seconds: float = ANSWER_SECONDS
) -> list[Part]:
    """Return the way of a question whose language model takes some seconds, for which the gateway holds a stream."""
    spent = {name: milliseconds / 1000 for name, milliseconds in times["questions"]["processor_ms"].items()}
    search = times["questions"]["search_ms"] / 1000
    waiting = {
        "gateway": (answer_seconds, SEATS),
        # It waits for the embedder, the index and the database meanwhile.
        "retriever": (search, REQUESTS),
        "agent": (answer_seconds, AGENT_WORKERS),
    }
    return [
        Part(name, *waiting[name], spent[name], scalings[name], cores=1.0)
        if name in waiting
        else _computing(name, spent[name], scalings[name])
        for name in spent
    ]


def _computing(name: str, seconds: float, scaling: Scaling) -> Part:
    # One interpreter computes on one core; the embedder's threads and the parser's children on all of the pod's.
    cores = CORES if name in {"embedder-bulk", "embedder-interactive", "parser"} else 1.0
    return Part(name, seconds, int(cores), seconds, scaling, cores)


def unbounded(part: Part) -> Part:
    """Return a part whose number of replicas has no maximum."""
    return replace(part, scaling=replace(part.scaling, most=UNLIMITED))


def fixed(replicas: int) -> Scaling:
    """Return a scaling that never changes."""
    return Scaling(replicas, replicas, triggers=(Trigger("none", 1.0),))


def scale_out_rate(replicas: int, requests: int, seconds: float) -> float:
    """Return the messages a second of replicas whose requests have a fixed latency, always with work to do."""
    part = Part("embedder-bulk", seconds, requests, 0.0, fixed(replicas))
    # More than they can take, so that what is counted is what they do take.
    queue = simulate([part], 2 * replicas * part.per_second, 60.0, 0.0)[0]
    return queue.left[-1] / 60.0


@dataclass(frozen=True, slots=True)
class Loads:
    """What is played: documents of one chunk a minute, questions a second, and what a language model takes for one."""

    documents_per_minute: Sequence[float] = DOCUMENTS_PER_MINUTE
    questions_per_second: Sequence[float] = QUESTIONS_PER_SECOND
    answer_seconds: float = ANSWER_SECONDS


def table(times: Mapping[str, Any], scalings: Mapping[str, Scaling], loads: Loads | None = None) -> str:
    """Return the predictions as a Markdown table."""
    loads = loads or Loads()
    start = times["start_seconds"]["process"] + times["start_seconds"]["placement"]
    lines = [
        "| load | part | needed at 70 % | replicas, last quarter of an hour: as set, without a maximum"
        " | largest backlog | longest wait, s | mean wait then, s | behind after half an hour |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for each in loads.documents_per_minute:
        lines += _lines(f"{each:,g} documents a minute", document_parts(times, scalings), each / 60, start)
    for each in loads.questions_per_second:
        parts = question_parts(times, scalings, loads.answer_seconds)
        lines += _lines(f"{each:,g} questions a second", parts, float(each), start)
    return "\n".join(lines)


def _lines(load: str, parts: Sequence[Part], rate: float, start_seconds: float) -> list[str]:
    as_set = simulate(parts, rate, LOAD_SECONDS, start_seconds)
    lifted = simulate([unbounded(part) for part in parts], rate, LOAD_SECONDS, start_seconds)
    found = []
    for part, kept, free in zip(parts, as_set, lifted, strict=True):
        behind = kept.backlog[-1]
        settled = wait_in_line(rate, part, max(1, kept.replicas[-1]))
        cells = [
            load,
            part.name,
            f"{part.replicas_for(rate):,}",
            f"{kept.lately()}, {free.lately()}",
            f"{max(kept.backlog):,.0f}",
            f"{kept.longest_wait():,.1f}",
            "grows" if math.isinf(settled) else f"{settled:,.3f}",
            f"{behind:,.0f}" if behind > max(1.0, kept.part.per_second * kept.replicas[-1]) else "no",
        ]
        found.append(f"| {' | '.join(cells)} |")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table and keep it where asked; 2 when there are no manifests or what is asked does not fit together."""
    given = _parser().parse_args(arguments)
    if not given.scalers.is_file():
        sys.stderr.write(f"simulate: {given.scalers} is no file; name the manifest of the ScaledObjects by --scalers\n")
        return 2
    own = given.documents or given.questions
    loads = Loads(given.documents, given.questions) if own else Loads()
    changed = own or given.answer_seconds != ANSWER_SECONDS or (given.times, given.scalers) != (TIMES, SCALERS)
    if given.keep and changed:
        sys.stderr.write("simulate: --keep is for the loads, times and manifests of docs/scaling.md alone\n")
        return 2
    loads = replace(loads, answer_seconds=given.answer_seconds)
    found = table(json.loads(given.times.read_text(encoding="utf-8")), read_scalings(given.scalers), loads)
    if given.keep:
        write_between_marks(PAGE, found, START, END)
    sys.stdout.write(found + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scalers", type=Path, default=SCALERS, help="manifest of the ScaledObjects")
    parser.add_argument(
        "--times", type=Path, default=TIMES, help="service times, as docs/benchmarks/service-times.json"
    )
    parser.add_argument("--documents", type=float, nargs="*", default=[], help="documents of one chunk a minute")
    parser.add_argument("--questions", type=float, nargs="*", default=[], help="questions a second")
    parser.add_argument("--answer-seconds", type=float, default=ANSWER_SECONDS, help="what a language model takes")
    parser.add_argument("--keep", action="store_true", help="keep the table in docs/scaling.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
