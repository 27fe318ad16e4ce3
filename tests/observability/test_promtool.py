"""Prometheus's own tools agree with the configuration, the rules and what their tests say of them."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.observability.alert_files import PROJECT, PROMETHEUS, RULE_FILES, TEST_FILES

MISSING = "{} is not installed; Debian and Ubuntu: apt install {}"
needs_promtool = pytest.mark.skipif(not shutil.which("promtool"), reason=MISSING.format("promtool", "prometheus"))
needs_amtool = pytest.mark.skipif(
    not shutil.which("amtool"), reason=MISSING.format("amtool", "prometheus-alertmanager")
)


def said_by(*command: str) -> str:
    """Run a tool; return what it says, which is the message when it fails."""
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs_promtool
def test_the_rules_are_valid() -> None:
    assert "FAILED" not in said_by("promtool", "check", "rules", *map(str, RULE_FILES))


@needs_promtool
@pytest.mark.parametrize("name", ["prometheus.local.yml", "prometheus.yml"])
def test_a_configuration_is_valid_and_finds_the_rules(name: str) -> None:
    said = said_by("promtool", "check", "config", str(PROMETHEUS / name))
    assert f"SUCCESS: {len(RULE_FILES)} rule files found" in said


@needs_promtool
@pytest.mark.timeout(120)
@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_only_then(path: Path) -> None:
    said_by("promtool", "test", "rules", str(path))


@needs_amtool
def test_the_alertmanager_s_configuration_is_valid() -> None:
    said_by("amtool", "check-config", str(PROMETHEUS / "alertmanager.yml"))
