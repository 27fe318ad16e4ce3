"""What a running platform sends is declared: every span, attribute, metric, label and bucket."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.telemetry.conftest import Traffic
from tests.telemetry.registry import COMMON_LABELS, SERVICES, registry

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def undeclared(span: dict[str, Any]) -> str | None:
    """Return what is wrong with a span, None when it is as declared."""
    attributes = span["attributes"]
    named = [
        each
        for each in registry().spans
        if each.kind == span["kind"] and each.name_of(attributes) == span["name"] and span["service"] in each.services
    ]
    if not named:
        return f"{span['service']} makes a {span['kind']} span {span['name']!r} with {sorted(attributes)}"
    extra = min((set(attributes) - each.attributes for each in named), key=len)
    return f"{span['service']}: span {span['name']!r} has {sorted(extra)}" if extra else None


@pytest.mark.parametrize("flow", ["ingest", "search", "agent", "died", "replay"])
def test_every_span_is_declared(traffic: Traffic, flow: str) -> None:
    assert {wrong for span in traffic.spans[flow] if (wrong := undeclared(span))} == set()


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_every_metric_is_declared(traffic: Traffic, service: str) -> None:
    assert traffic.metrics[service]
    assert {wrong for text in traffic.metrics[service] for wrong in undeclared_series(service, text)} == set()


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_histograms_have_the_declared_buckets(traffic: Traffic, service: str) -> None:
    declared = {metric.prometheus: set(metric.buckets) for metric in registry().metrics if metric.buckets}
    for name, buckets in declared.items():
        bounds = set(re.findall(rf'^{name}_bucket{{.*?\ble="([^"]+)"', "".join(traffic.metrics[service]), re.MULTILINE))
        assert {float(each) for each in bounds} in (set(), buckets | {float("inf")}), name


def undeclared_series(service: str, text: str) -> Iterator[str]:
    """Yield what is printed without being declared for this service."""
    found = registry()
    owners = {series: metric.services for metric in found.metrics for series in metric.series}
    labels_of = found.labels_of
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = sample.name
            if name.endswith("_created"):
                continue
            if name not in labels_of:
                yield name
                continue
            if service not in owners.get(name, SERVICES):
                yield f"{name} is not declared for {service}"
            extra = set(sample.labels) - labels_of[name] - COMMON_LABELS
            if extra and name != "target_info":
                yield f"{name} has {sorted(extra)}"
            if name == "target_info":
                known = {re.sub(r"\W", "_", each) for each in found.resource}
                yield from (f"resource {each}" for each in set(sample.labels) - known)


def test_what_is_not_declared_is_found() -> None:
    """The tests above must be able to fail."""
    span: dict[str, Any] = {
        "service": "gateway",
        "kind": "server",
        "name": "GET /secret",
        "attributes": {"http.request.method": "GET"},
    }
    assert undeclared(span) is not None
    span["attributes"] = {"http.request.method": "GET", "http.route": "/secret"}
    assert undeclared(span) is None
    span["attributes"]["colour"] = "red"
    assert "colour" in str(undeclared(span))
    assert set(undeclared_series("parser", "# TYPE rag_new gauge\nrag_new 1\n")) == {"rag_new"}
    assert set(undeclared_series("parser", "# TYPE rag_index_points gauge\nrag_index_points 1\n")) != set()
    assert (
        set(undeclared_series("parser", '# TYPE rag_service_live gauge\nrag_service_live{colour="red"} 1\n')) != set()
    )
