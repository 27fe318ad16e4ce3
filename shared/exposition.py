"""What `/metrics` says: the figures of this process as Prometheus reads them, histograms with trace ids as exemplars.

The reader of OpenTelemetry's exporter drops exemplars. Here they are taken from what it collects and put onto the
buckets that they belong to; the last one of a bucket stays until another comes, so that several scrapers see the same.
"""

import json
import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Any, Final

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.exporter.prometheus._mapping import map_unit, sanitize_attribute, sanitize_full_name
from opentelemetry.sdk.metrics import Exemplar as Measured
from opentelemetry.sdk.metrics.export import Histogram, HistogramDataPoint, Metric, MetricsData
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar, Sample

_NANOSECONDS: Final = 1e9
_INFINITY: Final = "+Inf"
# The exporter keeps what it collects in a queue of its own: two scrapes at once would read from the same.
_ONE_AT_A_TIME: Final = threading.Lock()

_Bucket = tuple[str, frozenset[tuple[str, str]], str]


class ExemplarReader(PrometheusMetricReader):
    """A metric reader whose histograms show on `/metrics` with the trace of one measurement in each bucket."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._exemplars: dict[_Bucket, Exemplar] = {}
        families = CollectorRegistry()
        # All instruments are of one scope: naming it on every series would be a third of the text.
        super().__init__(scope_info_enabled=False, registry=families)
        self._shown_in = registry
        self._shown = _WithExemplars(families, self._exemplars)
        registry.register(self._shown)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Take the figures off `/metrics`."""
        self._shown_in.unregister(self._shown)
        super().shutdown(timeout_millis, **kwargs)

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:
        for metric in _metrics_in(metrics_data):
            if isinstance(metric.data, Histogram):
                self._note(_family_name(metric), metric.data.data_points)
        super()._receive_metrics(metrics_data, timeout_millis, **kwargs)

    def _note(self, family: str, points: Iterable[HistogramDataPoint]) -> None:
        for point in points:
            if not point.exemplars:
                continue
            labels = _labels_of(point)
            for measured in point.exemplars:
                if measured.trace_id:
                    self._exemplars[family, labels, _bucket_of(measured.value, point)] = _exemplar(measured)


class _WithExemplars(Collector):
    def __init__(self, families: CollectorRegistry, exemplars: dict[_Bucket, Exemplar]) -> None:
        self._families, self._exemplars = families, exemplars

    def describe(self) -> Iterable[Family]:
        """Say that the names are not known before they are collected."""
        return []

    def collect(self) -> Iterator[Family]:
        """Yield what the reader collects now."""
        for family in self._families.collect():
            if family.type == "histogram":
                family.samples = [self._sample(family.name, sample) for sample in family.samples]
            yield family

    def _sample(self, family: str, sample: Sample) -> Sample:
        if "le" not in sample.labels:
            return sample
        labels = frozenset((key, value) for key, value in sample.labels.items() if value and key != "le")
        found = self._exemplars.get((family, labels, sample.labels["le"]))
        return sample._replace(exemplar=found) if found is not None else sample


def exposition(accept: str | None) -> tuple[bytes, str]:
    """Return the text of `/metrics` and its content type; only `application/openmetrics-text` has exemplars."""
    encode, content_type = choose_encoder(accept or "")
    with _ONE_AT_A_TIME:
        return encode(REGISTRY), content_type


def _metrics_in(data: MetricsData) -> Iterator[Metric]:
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            yield from scope.metrics


def _family_name(metric: Metric) -> str:
    name, unit = sanitize_full_name(metric.name), map_unit(metric.unit or "")
    return f"{name}_{unit}" if unit and not name.endswith(f"_{unit}") else name


def _labels_of(point: HistogramDataPoint) -> frozenset[tuple[str, str]]:
    found = {sanitize_attribute(key): _text(value) for key, value in (point.attributes or {}).items()}
    return frozenset((key, value) for key, value in found.items() if value)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _bucket_of(value: float, point: HistogramDataPoint) -> str:
    place = bisect_left(point.explicit_bounds, value)
    return str(point.explicit_bounds[place]) if place < len(point.explicit_bounds) else _INFINITY


def _exemplar(measured: Measured) -> Exemplar:
    labels = {"trace_id": f"{measured.trace_id:032x}", "span_id": f"{measured.span_id:016x}"}
    return Exemplar(labels, measured.value, measured.time_unix_nano / _NANOSECONDS)
