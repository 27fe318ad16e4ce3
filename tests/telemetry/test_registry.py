"""The registry against the code, the exporter, dashboards and alerts; test_emitted.py looks at what is really sent."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry, generate_latest

from shared import semantics
from tests.telemetry.registry import PROJECT, Metric, SpanType, names_in, registry, selections

CODE = [path for package in ("shared", "services") for path in sorted((PROJECT / package).rglob("*.py"))]
KINDS = {
    "create_counter": "counter",
    "create_histogram": "histogram",
    "create_up_down_counter": "updowncounter",
    "create_gauge": "gauge",
    "create_observable_gauge": "gauge",
    "create_observable_counter": "counter",
    "create_observable_up_down_counter": "updowncounter",
}
# A method that makes several gauges alike is called this, and takes meter, name and unit.
HELPER = "_gauge"
KINDS[HELPER] = "gauge"
PRINTED_AS = {"counter": "counter", "histogram": "histogram", "updowncounter": "gauge", "gauge": "gauge"}
MAKERS = {
    "counter": lambda meter, metric: meter.create_counter(metric.name, unit=metric.unit).add(1),
    "histogram": lambda meter, metric: meter.create_histogram(metric.name, unit=metric.unit).record(1),
    "updowncounter": lambda meter, metric: meter.create_up_down_counter(metric.name, unit=metric.unit).add(1),
    "gauge": lambda meter, metric: meter.create_gauge(metric.name, unit=metric.unit).set(1),
}


def created() -> dict[str, tuple[str, str]]:
    """Return kind and unit of every instrument that the code creates, by name."""
    found: dict[str, tuple[str, str]] = {}
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in KINDS:
                shift = 1 if node.func.attr == HELPER else 0
                name, unit = _argument(node, shift, "name"), _argument(node, 2, "unit")
                if name:
                    found[name] = (KINDS[node.func.attr], unit)
                else:
                    assert HELPER in path.read_text(), (
                        f"{path}:{node.lineno}: the name of an instrument is no plain text"
                    )
    return found


def _argument(call: ast.Call, place: int, name: str) -> str:
    given = [keyword.value for keyword in call.keywords if keyword.arg == name] or call.args[place : place + 1]
    return str(given[0].value) if given and isinstance(given[0], ast.Constant) else ""


def test_every_metric_that_the_code_creates_is_declared_and_the_other_way_round() -> None:
    declared = {metric.name: (metric.kind, metric.unit) for metric in registry().metrics}
    assert created() == declared


@pytest.mark.parametrize("metric", registry().metrics, ids=lambda metric: metric.name)
def test_the_declared_prometheus_form_is_what_the_exporter_prints(metric: Metric) -> None:
    collector = CollectorRegistry()
    provider = MeterProvider(metric_readers=[PrometheusMetricReader(registry=collector)])
    MAKERS[metric.kind](provider.get_meter("rag"), metric)
    printed = generate_latest(collector).decode()
    provider.shutdown()
    assert f"# TYPE {metric.prometheus} {PRINTED_AS[metric.kind]}\n" in printed
    assert metric.series <= set(re.findall(r"^(\w+)(?:{| )", printed, re.MULTILINE))


def test_only_histograms_have_buckets_and_all_names_are_described() -> None:
    found = registry()
    for metric in found.metrics:
        assert bool(metric.buckets) == (metric.kind == "histogram"), metric.name
        assert list(metric.buckets) == sorted(set(metric.buckets)), metric.name
    declarations: list[Metric | SpanType] = [*found.metrics, *found.spans]
    for declared in declarations:
        assert declared.attributes <= found.attributes, f"{declared.name} has attributes that are not described"
    used = {each for declared in declarations for each in declared.attributes}
    assert found.attributes == used, "these are described but nothing carries them"


def test_every_name_of_spans_and_their_attributes_lives_in_one_module() -> None:
    """A name that is written down twice is soon two names."""
    found = registry()
    assert set(semantics.SPAN_NAMES) == {(span.name, span.kind) for span in found.spans}
    assert {each for span in found.spans for each in span.attributes} == set(semantics.SPAN_ATTRIBUTES)
    dotted = {each for each in semantics.SPAN_ATTRIBUTES if "." in each}
    metric_attributes = {each for metric in found.metrics for each in metric.attributes}
    for path in CODE:
        if path.name != "semantics.py":
            texts = set(_texts(path))
            assert not texts & (dotted - metric_attributes), f"{path} writes names out that shared.semantics has"


def _texts(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def queries() -> Iterator[tuple[str, str]]:
    """Yield where each expression of a dashboard or rule stands, and the expression."""
    for path in sorted((PROJECT / "observability" / "grafana").rglob("*.json")):
        yield from ((f"{path.name}: {place}", text) for place, text in _of_dashboard(json.loads(path.read_text())))
    for path, rule in rules():
        yield f"{path.name}: {rule.get('alert') or rule.get('record')}", rule["expr"]


def _of_dashboard(node: Any, title: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(node, list):
        for each in node:
            yield from _of_dashboard(each, title)
    elif isinstance(node, dict):
        title = node.get("title") or title
        if isinstance(node.get("expr"), str):
            yield title, node["expr"]
        for each in node.values():
            yield from _of_dashboard(each, title)


def rules() -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted((PROJECT / "observability" / "prometheus" / "rules").glob("*.y*ml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from ((path, rule) for rule in group["rules"])


def test_dashboards_and_alerts_ask_for_declared_names_only() -> None:
    recorded = frozenset(rule["record"] for _, rule in rules() if "record" in rule)
    missing = {where: registry().undeclared(text, recorded=recorded) for where, text in queries()}
    assert {where: names for where, names in missing.items() if names} == {}


def test_an_expression_is_read_as_prometheus_reads_it() -> None:
    expression = """
        histogram_quantile(0.99, sum by (le, consumer) (rate(rag_loop_lag_seconds_bucket[$__rate_interval])))
          > on (consumer) group_left (kind) max_over_time(rag_nothing{consumer=~"$consumer", text="rag_string"}[1h:5m])
        unless {__name__="rag_messages_processed_total", colour="red"} offset 5m
    """
    assert names_in(expression) == {
        "rag_loop_lag_seconds_bucket",
        "rag_nothing",
        "rag_messages_processed_total",
    }
    assert registry().undeclared(expression) == {"rag_nothing", "rag_messages_processed_total{colour}"}
    assert registry().undeclared(expression, recorded=frozenset({"rag_nothing"})) == {
        "rag_messages_processed_total{colour}"
    }


@pytest.mark.parametrize("wrong", ["sum(rate(up[5m])", '{job="rag"}'])
def test_what_is_no_expression_or_names_nothing_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        list(selections(wrong))
