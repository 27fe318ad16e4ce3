"""The collector's configuration: there is no collector here to read it, so its structure is checked."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts import subjects
from shared import semantics

CONFIG = Path(__file__).resolve().parents[3] / "observability" / "otel-collector.yaml"
# The field that a policy of each type must have, as the processor's README has it.
POLICY_FIELDS = {
    "status_code": "status_codes",
    "latency": "threshold_ms",
    "numeric_attribute": "key",
    "string_attribute": "key",
    "probabilistic": "sampling_percentage",
    "and": "and_sub_policy",
}


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    return loaded


def policies(config: dict[str, Any]) -> list[dict[str, Any]]:
    top = config["processors"]["tail_sampling"]["policies"]
    return [*top, *(below for policy in top for below in policy.get("and", {}).get("and_sub_policy", []))]


def test_every_part_that_a_pipeline_names_is_declared_and_every_declared_part_is_used(config: dict[str, Any]) -> None:
    service = config["service"]
    assert set(config) == {"extensions", "receivers", "processors", "exporters", "service"}
    assert set(service["extensions"]) == set(config["extensions"])
    for kind in ("receivers", "processors", "exporters"):
        used = {name for pipeline in service["pipelines"].values() for name in pipeline[kind]}
        assert used == set(config[kind])


def test_memory_is_bounded_before_anything_is_held_and_batches_are_made_of_what_is_kept(config: dict[str, Any]) -> None:
    assert config["service"]["pipelines"]["traces"]["processors"] == ["memory_limiter", "tail_sampling", "batch"]


def test_every_policy_has_the_field_of_its_type(config: dict[str, Any]) -> None:
    found = policies(config)
    assert len({policy["name"] for policy in found}) == len(found)
    for policy in found:
        assert POLICY_FIELDS[policy["type"]] in policy[policy["type"]], policy["name"]


def test_errors_and_slow_traces_are_always_kept(config: dict[str, Any]) -> None:
    by_type = {policy["type"]: policy for policy in config["processors"]["tail_sampling"]["policies"]}
    assert by_type["status_code"]["status_code"]["status_codes"] == ["ERROR"]
    assert 0 < by_type["latency"]["latency"]["threshold_ms"] <= 5_000


def test_policies_ask_for_names_that_spans_have(config: dict[str, Any]) -> None:
    known = {semantics.DELIVERIES: None, semantics.DESTINATION: [subjects.QUERIES_ASK]}
    asked = [policy[policy["type"]] for policy in policies(config) if policy["type"].endswith("_attribute")]
    assert {one["key"] for one in asked} == set(known)
    assert [one["values"] for one in asked if "values" in one] == [[subjects.QUERIES_ASK]]


def test_it_listens_where_the_services_send(config: dict[str, Any]) -> None:
    assert config["receivers"]["otlp"]["protocols"]["http"]["endpoint"].endswith(":4318")
    assert config["exporters"]["otlp"]["endpoint"] == "${env:TRACES_OTLP_ENDPOINT}"
