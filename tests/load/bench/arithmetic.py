"""What the bench computes of its measurements."""

import statistics
from collections.abc import Mapping, Sequence

from tests.load.overload_report import quantile

__all__ = ["drift", "linear_share", "percentiles_ms", "quantile", "rate_within", "slope", "thirds"]


def percentiles_ms(latencies_ms: Sequence[float]) -> tuple[float, float]:
    """Return p50 and p99 by nearest rank; infinity without any."""
    return quantile(latencies_ms, 0.5), quantile(latencies_ms, 0.99)


def rate_within(moments: Sequence[float], start: float, end: float) -> float:
    """Return how many of the moments lie in [start, end), for each second of it."""
    if end <= start:
        raise ValueError(f"a window from {start} to {end} has no length")
    return sum(start <= moment < end for moment in moments) / (end - start)


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """Return the slope of the values over time by least squares; ValueError below two points or at one moment."""
    if len(times) < 2 or min(times) == max(times):
        raise ValueError("a slope needs two points at different times")
    return statistics.linear_regression(times, values).slope


def thirds(values: Sequence[float]) -> tuple[float, float]:
    """Return the medians of the first and of the last third; ValueError below three values."""
    third = len(values) // 3
    if not third:
        raise ValueError("there is no third of fewer than three values")
    return statistics.median(values[:third]), statistics.median(values[-third:])


def drift(values: Sequence[float]) -> float:
    """Return by how much the last third lies above the first; ValueError below three values."""
    first, last = thirds(values)
    return last - first


def linear_share(rates: Mapping[int, float]) -> dict[int, float]:
    """Return for each number of replicas its rate as a share of as many times the rate of the fewest."""
    fewest = min(rates)
    each = rates[fewest] / fewest
    if not each:
        raise ValueError(f"{fewest} replicas did nothing, so that nothing is a multiple of it")
    return {replicas: found / (each * replicas) for replicas, found in sorted(rates.items())}
