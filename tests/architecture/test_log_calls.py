"""Every log line of ours is a constant event with fields, and is written by structlog."""

import ast
from pathlib import Path

import pytest

from shared.logs import CONTENT_FIELDS
from tests.architecture.test_rules import PACKAGES, name, sources

LEVELS = {"debug", "info", "warning", "error", "critical", "exception", "log", "msg"}
# What a field of these names would hold is content, or a secret; `child_stderr` is the one that is left out on its way.
NEVER_FIELDS = (CONTENT_FIELDS - {"child_stderr"}) | {"key", "password", "secret", "token", "headers"}
# The pipeline itself, and code that runs in the confined child, whose standard error is no log.
USES_LOGGING = {
    "shared/logs.py",
    "shared/library_logs.py",
    "shared/error_reports.py",
    "shared/messaging/broker.py",
    "services/parser/formats/letter.py",
}
# A warning of Python's is content-gated by its field's name, like the errors' own words.
MAY_NAME = {"shared/logs.py": {"text"}}


def log_calls(path: Path) -> list[ast.Call]:
    return [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in LEVELS
        and isinstance(node.func.value, ast.Name | ast.Attribute)
        and (node.func.value.id if isinstance(node.func.value, ast.Name) else node.func.value.attr)
        in {"log", "logger", "_log", "_logger"}
    ]


WITH_LOG_CALLS = [path for path in sorted(sources(*PACKAGES)) if log_calls(path)]


def is_constant_event(node: ast.Call) -> bool:
    event = node.args[0] if node.args else None
    return (
        len(node.args) == 1
        and isinstance(event, ast.Constant)
        and isinstance(event.value, str)
        and event.value.replace("_", "").isalnum()
        and event.value == event.value.lower()
    )


def test_there_are_log_calls_to_look_at() -> None:
    assert len(WITH_LOG_CALLS) > 30


@pytest.mark.parametrize("path", WITH_LOG_CALLS, ids=name)
def test_an_event_is_a_constant_in_snake_case(path: Path) -> None:
    """An event that is put together cannot be counted, searched for, or told from what a caller sent."""
    wrong = [node.lineno for node in log_calls(path) if not is_constant_event(node)]
    assert wrong == [], f"{name(path)} logs no constant event in lines {wrong}"


@pytest.mark.parametrize("path", WITH_LOG_CALLS, ids=name)
def test_errors_are_fields_and_not_put_into_words_by_who_logs_them(path: Path) -> None:
    """`reason=str(error)` wrote what a parser had stumbled over; `reason=error` lets the pipeline decide."""
    wrong = []
    for node in log_calls(path):
        for keyword in node.keywords:
            said = [
                part for part in ast.walk(keyword.value) if isinstance(part, ast.Name) and "error" in part.id.lower()
            ]
            classes = ast.unparse(keyword.value)
            if said and not (isinstance(keyword.value, ast.Name) or "type(" in classes or "error_code" in classes):
                wrong.append(node.lineno)
    assert wrong == [], f"{name(path)} puts errors into words in lines {wrong}"


@pytest.mark.parametrize("path", WITH_LOG_CALLS, ids=name)
def test_no_field_is_named_for_content_or_a_secret(path: Path) -> None:
    allowed = MAY_NAME.get(name(path), set())
    wrong = [
        (node.lineno, keyword.arg)
        for node in log_calls(path)
        for keyword in node.keywords
        if keyword.arg in NEVER_FIELDS - allowed
    ]
    assert wrong == []


@pytest.mark.parametrize("path", sorted(sources(*PACKAGES)), ids=name)
def test_nobody_logs_past_the_pipeline(path: Path) -> None:
    if name(path) in USES_LOGGING:
        return
    imported = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import) and any(alias.name == "logging" for alias in node.names)
    ]
    assert imported == [], f"{name(path)} imports logging; use shared.logs.get_logger"
