"""Percentiles of durations."""

import pytest

from services.cli.evaluation.latency import percentiles


def test_percentiles_are_in_milliseconds_by_the_nearest_rank() -> None:
    found = percentiles([number / 1000 for number in range(1, 301)])
    assert found == pytest.approx({"p50_ms": 150.5, "p99_ms": 297.0, "count": 300})


def test_one_duration_is_all_of_them() -> None:
    assert percentiles([0.25]) == {"p50_ms": 250.0, "p99_ms": 250.0, "count": 1}


def test_there_are_none_of_nothing() -> None:
    with pytest.raises(ValueError, match="no durations"):
        percentiles([])
