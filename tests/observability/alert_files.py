"""The rules, their promtool tests and their runbooks, read for tests."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).resolve().parents[2]
PROMETHEUS = PROJECT / "observability" / "prometheus"
RUNBOOKS = PROJECT / "observability" / "runbooks"
RULE_FILES = sorted((PROMETHEUS / "rules").glob("*.yml"))
TEST_FILES = sorted((PROMETHEUS / "tests").glob("*.yml"))


@dataclass(frozen=True)
class Alert:
    """One alerting rule."""

    name: str
    severity: str
    expression: str
    annotations: dict[str, str]


def rules() -> Iterator[dict[str, Any]]:
    """Yield every rule of every file."""
    for path in RULE_FILES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]


def alerts() -> list[Alert]:
    """Return every alerting rule."""
    return [
        Alert(rule["alert"], rule["labels"]["severity"], rule["expr"], rule["annotations"])
        for rule in rules()
        if "alert" in rule
    ]


def expectations() -> Iterator[tuple[str, set[str], list[str]]]:
    """Yield what promtool tests say of an alert: its name, the severities that fire, the series that there are."""
    for path in TEST_FILES:
        for case in yaml.safe_load(path.read_text())["tests"]:
            series = [one["series"] for one in case["input_series"]]
            for said in case["alert_rule_test"]:
                yield said["alertname"], {one["exp_labels"]["severity"] for one in said["exp_alerts"]}, series
