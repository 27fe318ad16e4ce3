"""Instruments whose figures a test reads."""

from collections.abc import Mapping

from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    InMemoryMetricReader,
    NumberDataPoint,
)

Point = NumberDataPoint | HistogramDataPoint | ExponentialHistogramDataPoint


class Measured:
    """A meter, and what was recorded with it."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.meter: Meter = MeterProvider(metric_readers=[self._reader]).get_meter("test")

    def points(self) -> dict[str, list[Point]]:
        """Return every series by the name of its instrument; one that was never recorded has none."""
        found = self._reader.get_metrics_data()
        scopes = [scope for resource in found.resource_metrics for scope in resource.scope_metrics] if found else []
        return {metric.name: list(metric.data.data_points) for scope in scopes for metric in scope.metrics}

    def values(self, name: str) -> dict[tuple[tuple[str, object], ...], float]:
        """Return what each series of an instrument says, by its sorted labels; of a histogram its count."""
        return {_labels(point.attributes): _value(point) for point in self.points().get(name, ())}

    def total(self, name: str, **labels: object) -> float:
        """Return the sum of the series that have these labels, dots of whose names are written as underscores."""
        wanted = labels.items()
        return sum(
            value
            for series, value in self.values(name).items()
            if wanted <= {(key.replace(".", "_"), text) for key, text in series}
        )


def _labels(attributes: Mapping[str, object] | None) -> tuple[tuple[str, object], ...]:
    return tuple(sorted((attributes or {}).items()))


def _value(point: Point) -> float:
    return point.value if isinstance(point, NumberDataPoint) else point.count
