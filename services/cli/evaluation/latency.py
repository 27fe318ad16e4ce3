"""Percentiles of durations."""

import math
import statistics
from collections.abc import Sequence


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return p50 and p99 in milliseconds and the number of durations; ValueError without any."""
    if not seconds:
        raise ValueError("no durations to take percentiles of")
    ordered = sorted(seconds)
    return {
        "p50_ms": statistics.median(ordered) * 1000,
        # The nearest rank: the smallest duration that 99 in 100 do not exceed.
        "p99_ms": ordered[math.ceil(len(ordered) * 0.99) - 1] * 1000,
        "count": len(ordered),
    }
