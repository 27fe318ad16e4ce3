"""The table of an overload run: what was found, beside its limit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MAX_P99_RATIO = 2.5
MIN_INGEST_RATIO = 0.7
MAX_GROWTH_MB = 512.0
# Beyond it a service could not live beside the others in 4 GB.
MAX_SUM_MB = 3_000.0


@dataclass(frozen=True, slots=True)
class Row:
    """One figure; `kept` is whether it keeps its limit, true where there is none."""

    figure: str
    found: str
    limit: str = ""
    kept: bool = True


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which a share of the values lies: the nearest rank; infinity without any."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("inf")


def rows(figures: Mapping[str, Any]) -> list[Row]:
    """Return every row of the table."""
    idle = figures["idle"]
    saturated = _together(figures["saturated"])
    return [
        _latencies("search, idle", idle),
        _latencies("search, during the flood", figures["flood"]),
        _p99_ratio("during the flood", figures["flood"], idle),
        _latencies("search, while the backlog is worked off", saturated),
        _p99_ratio("while the backlog is worked off", saturated, idle),
        *_errors(figures),
        *_ingestion(figures),
        *_accounts(figures),
        *_processes(figures),
    ]


def table(found: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = ["| figure | found | limit | kept |", "|---|---|---|---|"]
    lines += [f"| {row.figure} | {row.found} | {row.limit} | {'yes' if row.kept else '**no**'} |" for row in found]
    return "\n".join(lines)


def _together(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    errors: dict[str, int] = {}
    for run in runs:
        for name, count in run["errors"].items():
            errors[name] = errors.get(name, 0) + count
    return {
        "searches": sum(run["searches"] for run in runs),
        "latencies_ms": [each for run in runs for each in run["latencies_ms"]],
        "errors": errors,
    }


def _latencies(name: str, run: Mapping[str, Any]) -> Row:
    p50, p95, p99 = (quantile(run["latencies_ms"], share) for share in (0.5, 0.95, 0.99))
    return Row(f"{name}: p50, p95, p99 ms", f"{p50:.1f}, {p95:.1f}, {p99:.1f} ({run['searches']} searches)")


def _p99_ratio(when: str, run: Mapping[str, Any], idle: Mapping[str, Any]) -> Row:
    ratio = quantile(run["latencies_ms"], 0.99) / quantile(idle["latencies_ms"], 0.99)
    return Row(f"p99 {when} / p99 idle", f"{ratio:.2f}", f"at most {MAX_P99_RATIO}", ratio <= MAX_P99_RATIO)


def _errors(figures: Mapping[str, Any]) -> list[Row]:
    everything = _together([figures["idle"], figures["flood"], *figures["saturated"]])
    count = sum(everything["errors"].values())
    return [Row("searches that failed", f"{count} {everything['errors'] or ''}".strip(), "0", count == 0)]


def _ingestion(figures: Mapping[str, Any]) -> list[Row]:
    producer, rates = figures["producer"], figures["chunks_per_second"]
    with_search = sum(rates["with_search"]) / len(rates["with_search"])
    without = sum(rates["without_search"]) / len(rates["without_search"])
    ratio = with_search / without if without else 0.0
    refused = sum(producer["refused"].values())
    kept = ratio >= MIN_INGEST_RATIO
    return [
        Row("documents acknowledged a second", f"{producer['per_second']:.0f} in {producer['seconds']:.1f} s"),
        Row("publishes refused or not acknowledged", f"{refused} {producer['refused'] or ''}".strip()),
        Row("flood recorded after, s", f"{figures['flood_recorded_seconds']:.0f}"),
        Row("chunks/s indexed, with and without search", f"{with_search:.1f}, {without:.1f}"),
        Row("ingestion with search / without", f"{ratio:.2f}", f"at least {MIN_INGEST_RATIO}", kept),
    ]


def _accounts(figures: Mapping[str, Any]) -> list[Row]:
    accounts, sent = figures["accounts"], figures["documents"]
    statuses = accounts["by_status"]
    acknowledged, recorded = figures["producer"]["acknowledged"], sum(statuses.values())
    spread = ", ".join(f"{status} {count}" for status, count in sorted(statuses.items()))
    return [
        Row("documents acknowledged", f"{acknowledged:,}", f"{sent:,}", acknowledged == sent),
        Row("documents recorded", f"{recorded:,} ({spread})", f"{acknowledged:,}", recorded == acknowledged),
        Row("failed documents", str(statuses.get("failed", 0)), "0", not statuses.get("failed")),
        Row("dead letters", str(accounts["dead_letters"]), "0", accounts["dead_letters"] == 0),
    ]


def _processes(figures: Mapping[str, Any]) -> list[Row]:
    memory, lost = figures["memory_mb"], figures["lost_processes"]
    growth = {name: memory["highest"][name] - before for name, before in memory["before"].items()}
    most = max(growth, key=lambda name: growth[name])
    return [
        Row("processes that died or were replaced", ", ".join(lost) or "none", "none", not lost),
        Row(
            "largest growth of a process, MB",
            f"{growth[most]:.0f} ({most}, to {memory['highest'][most]:.0f})",
            f"at most {MAX_GROWTH_MB:.0f}",
            growth[most] <= MAX_GROWTH_MB,
        ),
        Row(
            "memory of all processes together, MB",
            f"{memory['highest_sum']:.0f}",
            f"at most {MAX_SUM_MB:.0f}",
            memory["highest_sum"] <= MAX_SUM_MB,
        ),
        Row("exit code of the launcher", str(figures["exit_code"]), "0", figures["exit_code"] == 0),
    ]
