"""The table of a run for people, and its figures for programs."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from tests.chaos.faults import TARGETS, Kind
from tests.chaos.killer import Recovery
from tests.chaos.plan import Ending
from tests.chaos.run import Outcome
from tests.chaos.verdict import count_by_fault
from tests.load.machine import describe_machine

MAX_SHOWN: Final = 40
MEASURES: Final[Mapping[str, str]] = {
    "ready_seconds": "ready",
    "working_seconds": "at work",
    "done_seconds": "all settled",
}


def figures(outcome: Outcome) -> dict[str, Any]:
    """Return everything that was measured."""
    options, ledger = outcome.options, outcome.ledger
    return {
        "seed": options.seed,
        "documents": options.documents,
        "machine": describe_machine(),
        "seconds": {"busy": round(outcome.busy_seconds, 1), "settle": round(outcome.settle_seconds, 1)},
        "writes": {
            "planned": outcome.plan.writes,
            "acknowledged": sum(len(history) for history in ledger.accepted.values()),
            "tried_again": ledger.retries,
        },
        "endings": {str(ending): outcome.plan.count(ending) for ending in Ending},
        "index_points": len(outcome.observation.points),
        "upload_bytes_left": outcome.observation.upload_bytes,
        "dead_letters": len(outcome.observation.letters),
        "faults": [_fault(recovery) for recovery in outcome.recoveries],
        "recovery": {target: _recovery(_of(outcome.recoveries, target)) for target in (*TARGETS, "all")},
        "queries": {
            "outcomes": {kind: dict(counts) for kind, counts in outcome.queries.outcomes.items()},
            "answered_seconds": {kind: spread(each) for kind, each in outcome.queries.seconds.items()},
            "sent_again_while_the_gateway_was_away": outcome.queries.sent_again,
        },
        "wrong": count_by_fault(outcome.findings) | {"broken query": len(outcome.queries.broken)},
        "findings": [str(finding) for finding in outcome.findings][:MAX_SHOWN],
        "problems": [*outcome.problems, *outcome.queries.broken][:MAX_SHOWN],
        "good": outcome.is_good,
    }


def spread(seconds: Iterable[float]) -> dict[str, float]:
    """Return p50, p95 and max; nothing of nothing."""
    ordered = sorted(seconds)
    if not ordered:
        return {}
    p95 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    return {"p50": round(statistics.median(ordered), 2), "p95": round(p95, 2), "max": round(ordered[-1], 2)}


def show(outcome: Outcome, console: Console) -> None:
    """Print the tables."""
    found = figures(outcome)
    console.print(f"seed {found['seed']}, {found['seconds']['busy']:.0f} s, settled {found['seconds']['settle']:.0f} s")
    console.print(_recovery_table(found))
    console.print(_pairs("documents", found["endings"] | _document_counts(found)))
    for kind, counts in found["queries"]["outcomes"].items():
        console.print(_pairs(f"{kind} by outcome", counts))
    console.print(f"sent again while the gateway was away: {found['queries']['sent_again_while_the_gateway_was_away']}")
    console.print(_pairs("writes tried again, because", found["writes"]["tried_again"]))
    console.print(_pairs("wrong", found["wrong"]))
    for line in (*found["findings"], *found["problems"]):
        console.print(line, markup=False, highlight=False)
    console.print("good" if outcome.is_good else "NOT GOOD")


def _document_counts(found: dict[str, Any]) -> dict[str, Any]:
    return {
        "writes acknowledged": found["writes"]["acknowledged"],
        "points in the index": found["index_points"],
        "dead letters": found["dead_letters"],
        "bytes of uploads left": found["upload_bytes_left"],
    }


def _fault(recovery: Recovery) -> dict[str, Any]:
    return {
        "target": recovery.fault.target,
        "kind": str(recovery.fault.kind),
        "at": round(recovery.fault.at, 1),
        "ready_seconds": recovery.ready_seconds,
        "working_seconds": recovery.working_seconds,
        "done_seconds": recovery.done_seconds,
    }


def _of(recoveries: Sequence[Recovery], target: str) -> list[Recovery]:
    return [each for each in recoveries if target in (each.fault.target, "all")]


def _recovery(recoveries: Sequence[Recovery]) -> dict[str, Any]:
    return {
        "kills": sum(each.fault.kind is Kind.KILL for each in recoveries),
        "freezes": sum(each.fault.kind is Kind.FREEZE for each in recoveries),
        "recovered": sum(each.done_seconds is not None for each in recoveries),
        **{name: spread(_seconds(recoveries, name)) for name in MEASURES},
    }


def _seconds(recoveries: Sequence[Recovery], measure: str) -> list[float]:
    return [value for each in recoveries if (value := getattr(each, measure)) is not None]


def _recovery_table(found: dict[str, Any]) -> Table:
    table = Table(title="seconds from the kill or the end of the freeze, p50 / p95 / max", padding=(0, 0))
    for heading in ("process", "kills", "freezes", "recovered", *MEASURES.values()):
        table.add_column(heading, justify="left" if heading == "process" else "right")
    for target, row in found["recovery"].items():
        numbers = (str(row[name]) for name in ("kills", "freezes", "recovered"))
        table.add_row(target, *numbers, *(_spread_text(row[name]) for name in MEASURES))
    return table


def _spread_text(found: dict[str, float]) -> str:
    return " / ".join(f"{found[name]:.1f}" for name in ("p50", "p95", "max")) if found else "-"


def _pairs(title: str, counts: dict[str, Any]) -> Table:
    table = Table(title=title, show_header=False)
    for name, count in counts.items():
        table.add_row(name, str(count))
    return table
