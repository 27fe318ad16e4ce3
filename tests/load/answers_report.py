"""The table of a run of answers: what was found, beside its limit and what it is made of."""

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from tests.load.overload_report import Row, quantile

MAX_FIRST_DELTA_P95_MS = 250.0
LIMITED_USERS = "32"
MAX_CACHED_P50_MS = 3.0
MAX_STEP_MS = 25.0
TOOL_CALLS = 3


def rows(figures: Mapping[str, Any]) -> list[Row]:
    """Return every row of the table."""
    return [*_first_deltas(figures), _cached(figures["cached"]), *_agent(figures["agent"]), *_costs(figures)]


def _first_deltas(figures: Mapping[str, Any]) -> Iterator[Row]:
    for users, rounds in figures["first_delta"].items():
        p95 = quantile(_all(rounds, "first_ms"), 0.95)
        limited = users == LIMITED_USERS
        yield Row(
            f"{users} users: first delta p50, p95 ms (p95 by round)",
            _spread([run["first_ms"] for run in rounds]),
            f"p95 at most {MAX_FIRST_DELTA_P95_MS:g}" if limited else "",
            not limited or p95 <= MAX_FIRST_DELTA_P95_MS,
        )
        yield Row(f"{users} users: its parts called in process, p50, p95 ms", _spread(figures["parts"][users]))
        own = [[each * 1000 for each in run["endpoint"]["seconds"]] for run in rounds]
        yield Row(f"{users} users: of that the endpoint's own time, p50, p95 ms", _spread(own))
        yield Row(f"{users} users: whole answer p50, p95 ms", _spread([run["end_ms"] for run in rounds]))
        rates = [len(run["end_ms"]) / run["seconds"] for run in rounds]
        yield Row(f"{users} users: answers a second, by round", ", ".join(f"{rate:.1f}" for rate in rates))
        yield _nothing_else(users, rounds)


def _nothing_else(users: str, rounds: Sequence[Mapping[str, Any]]) -> Row:
    """Return how many questions ended otherwise: an error counts as a miss, and so does an answer from a cache."""
    errors, cached = sum(sum(run["errors"].values()) for run in rounds), sum(run["cached"] for run in rounds)
    declined, answered = sum(run["declined"] for run in rounds), len(_all(rounds, "end_ms"))
    found = f"{answered}, {declined}, {cached}, {errors}"
    return Row(
        f"{users} users: answered, declined, from a cache, failed", found, "0 cached, 0 failed", not errors + cached
    )


def _cached(run: Mapping[str, Any]) -> Row:
    p50, p95 = (quantile(run["end_ms"], share) for share in (0.5, 0.95))
    every = run["cached"] == len(run["end_ms"]) and not run["errors"]
    return Row(
        f"1 user, cached answers ({run['cached']}), p50, p95 ms; answers a second",
        f"{p50:.1f}, {p95:.1f}; {len(run['end_ms']) / run['seconds']:.0f}",
        f"p50 at most {MAX_CACHED_P50_MS:g}, all cached",
        every and p50 <= MAX_CACHED_P50_MS,
    )


def _agent(run: Mapping[str, Any]) -> Iterator[Row]:
    """Yield where the time of an agent's answer goes; only those count that took exactly the three calls."""
    tools = [
        sum(step["duration_ms"] or 0.0 for step in steps if step["kind"] == "tool")
        for steps in run["steps"]
        if sum(step["kind"] == "tool" for step in steps) == TOOL_CALLS
    ]
    answers = len(run["end_ms"])
    complete = answers > 0 and len(tools) == answers and not run["errors"]
    total = statistics.fmean(run["end_ms"]) if answers else float("inf")
    endpoint = sum(run["endpoint"]["seconds"]) * 1000 / max(1, answers)
    tool = statistics.fmean(tools) if tools else 0.0
    yield Row(
        f"1 user, agent: mean ms of an answer, of the endpoint's and of the tools' own ({answers} answers)",
        f"{total:.1f}, {endpoint:.1f}, {tool:.1f}",
        f"{TOOL_CALLS} tool calls each",
        complete,
    )
    step = (total - endpoint - tool) / TOOL_CALLS
    yield Row(
        "the platform's own for each tool step, ms", f"{step:.1f}", f"at most {MAX_STEP_MS:g}", step <= MAX_STEP_MS
    )


def _costs(figures: Mapping[str, Any]) -> Iterator[Row]:
    """Yield what an answer costs of the processors, and what measuring took of the same ones."""
    runs = list(chain.from_iterable(figures["first_delta"].values()))
    answers = sum(len(run["end_ms"]) + run["declined"] for run in runs)
    spent: Counter[str] = Counter()
    for run in runs:
        spent.update(run["processor_seconds"])
    listed = ", ".join(f"{name} {seconds * 1000 / max(1, answers):.1f}" for name, seconds in spent.most_common())
    yield Row("processor time of an answer, ms", f"{spent.total() * 1000 / max(1, answers):.1f}: {listed}")
    users = sum(run["cpu_seconds"] for run in runs) * 1000 / max(1, answers)
    endpoint = sum(run["endpoint"]["cpu_seconds"] for run in runs) * 1000 / max(1, answers)
    yield Row("beside it: the users', the endpoint's", f"{users:.2f}, {endpoint:.2f}")


def _spread(rounds: Sequence[Sequence[float]]) -> str:
    together = list(chain.from_iterable(rounds))
    by_round = ", ".join(f"{quantile(one, 0.95):.1f}" for one in rounds)
    return f"{quantile(together, 0.5):.1f}, {quantile(together, 0.95):.1f} ({by_round})"


def _all(rounds: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    return list(chain.from_iterable(run[name] for run in rounds))
