"""The registry of telemetry names, read for tests: what it declares, and what a PromQL expression asks for."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import promql_parser
import yaml

PROJECT = Path(__file__).resolve().parents[2]
REGISTRY_FILE = PROJECT / "observability" / "telemetry.yaml"
SERVICES = frozenset({"gateway", "parser", "embedder", "retriever", "agent", "persistence"})
# Labels that the exporter and Prometheus add to every series.
COMMON_LABELS = frozenset({"le", "job", "instance", "otel_scope_name", "otel_scope_version", "otel_scope_schema_url"})
# Dashboards leave durations and choices to Grafana.
_GRAFANA_DURATION = re.compile(r"\$\{?__(?:rate_interval|interval|range)\}?")
_GRAFANA_VARIABLE = re.compile(r"\$\{?[a-zA-Z_]\w*(?::\w+)?\}?")
_CHILDREN = ("lhs", "rhs", "expr", "param", "vector_selector", "args")


@dataclass(frozen=True)
class Metric:
    """One instrument; `buckets` are upper bounds in its unit."""

    name: str
    prometheus: str
    kind: str
    unit: str
    attributes: frozenset[str]
    services: frozenset[str]
    buckets: tuple[float, ...] = ()

    @property
    def series(self) -> frozenset[str]:
        """Return the names that Prometheus knows it by."""
        if self.kind != "histogram":
            return frozenset({self.prometheus})
        return frozenset(f"{self.prometheus}_{part}" for part in ("bucket", "sum", "count"))

    @property
    def labels(self) -> frozenset[str]:
        """Return its attributes as labels."""
        return frozenset(label(each) for each in self.attributes)


@dataclass(frozen=True)
class SpanType:
    """One kind of span; the holes of `name` are attributes."""

    name: str
    kind: str
    attributes: frozenset[str]
    services: frozenset[str]

    def name_of(self, attributes: dict[str, Any]) -> str | None:
        """Return what a span with these attributes is called, None when one that is in the name is missing."""
        holes = re.findall(r"{([^}]+)}", self.name)
        if any(hole not in attributes for hole in holes):
            return None
        return re.sub(r"{([^}]+)}", lambda hole: str(attributes[hole.group(1)]), self.name)


@dataclass(frozen=True)
class Registry:
    """Everything that is declared."""

    metrics: tuple[Metric, ...]
    spans: tuple[SpanType, ...]
    attributes: frozenset[str]
    resource: frozenset[str]
    foreign: dict[str, frozenset[str]]

    @property
    def labels_of(self) -> dict[str, frozenset[str]]:
        """Return the labels of every series that Prometheus may hold, foreign ones included."""
        own = {series: metric.labels for metric in self.metrics for series in metric.series}
        return {**self.foreign, **own}

    def undeclared(self, expression: str, *, recorded: frozenset[str] = frozenset()) -> set[str]:
        """Return what a PromQL expression asks for in vain: names of series, and `series{label}` for labels.

        `recorded` are names of recording rules. Labels are checked where they select; ValueError for no PromQL.
        """
        known = self.labels_of
        missing: set[str] = set()
        for name, labels in selections(expression):
            if name in recorded:
                continue
            if name not in known:
                missing.add(name)
                continue
            missing |= {f"{name}{{{each}}}" for each in labels - known[name] - COMMON_LABELS}
        return missing


def label(attribute: str) -> str:
    """Return the Prometheus label of an attribute."""
    return re.sub(r"[^a-zA-Z0-9]+", "_", attribute)


@cache
def registry() -> Registry:
    """Return what is declared; every reference within the file is resolved."""
    found = yaml.safe_load(REGISTRY_FILE.read_text())
    return Registry(
        metrics=tuple(_metric(each, found["buckets"]) for each in found["metrics"]),
        spans=tuple(
            SpanType(each["name"], each["kind"], frozenset(each["attributes"]), _services(each["services"]))
            for each in found["spans"]
        ),
        attributes=frozenset(found["attributes"]),
        resource=frozenset(found["resource"]),
        foreign={each["name"]: frozenset(each["labels"]) for each in found["foreign"]},
    )


def selections(expression: str) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield the name of each series that an expression selects, with the labels by which it does.

    Variables of Grafana may stand for durations and within strings. ValueError when it is no PromQL, or selects without
    a fixed name.
    """
    text = _GRAFANA_DURATION.sub("5m", expression)
    return _selections(promql_parser.parse(_GRAFANA_VARIABLE.sub("x", text)))


def names_in(expression: str) -> set[str]:
    """Return the names of the series that an expression selects."""
    return {name for name, _ in selections(expression)}


def _selections(node: Any) -> Iterator[tuple[str, frozenset[str]]]:
    if isinstance(node, promql_parser.VectorSelector):
        yield _selected(node)
        return
    for child in _CHILDREN:
        value = getattr(node, child, None)
        for each in value if isinstance(value, list | tuple) else [value]:
            if each is not None:
                yield from _selections(each)


def _selected(node: Any) -> tuple[str, frozenset[str]]:
    matchers = node.matchers.matchers
    name = node.name or next((each.value for each in matchers if each.name == "__name__"), None)
    if name is None:
        raise ValueError(f"{node.prettify()} selects series without naming them")
    return name, frozenset(each.name for each in matchers if each.name != "__name__")


def _metric(entry: dict[str, Any], buckets: dict[str, list[float]]) -> Metric:
    return Metric(
        name=entry["name"],
        prometheus=entry["prometheus"],
        kind=entry["kind"],
        unit=entry["unit"],
        attributes=frozenset(entry["attributes"]),
        services=_services(entry["services"]),
        buckets=tuple(float(each) for each in buckets[entry["buckets"]]) if "buckets" in entry else (),
    )


def _services(declared: Any) -> frozenset[str]:
    return SERVICES if declared == "all" else frozenset(declared)
