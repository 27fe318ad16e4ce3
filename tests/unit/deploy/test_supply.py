"""The checks of what the platform is made of, on their real tools."""

import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploy.local.errors import SetupError
from deploy.local.progress import Progress
from deploy.supply import leaked_secrets, licences, risky_code, vulnerabilities
from deploy.supply.sbom import write_sbom
from deploy.supply.tools import Tools, ensure_tools
from shared.models import MODELS

PROJECT = Path(__file__).resolve().parents[3]
VULNERABLE = {
    "dependencies": [
        {"name": "sound", "version": "1.0", "vulns": []},
        {"name": "leaky", "version": "2.0", "vulns": [{"id": "GHSA-1", "fix_versions": ["2.1"], "aliases": []}]},
        {"name": "unheard", "skip_reason": "Dependency not found"},
    ]
}


@pytest.fixture(scope="module")
def tools() -> Tools:
    try:
        return ensure_tools(PROJECT, Progress(io.StringIO()))
    except SetupError as error:
        pytest.skip(f"the tools cannot be fetched: {error}")


@pytest.fixture
def checkout(tools: Tools, tmp_path: Path) -> Tools:
    """A repository with one file in it, for tools that look for what it should not hold."""
    (tmp_path / ".venv").symlink_to(PROJECT / ".venv")
    (tmp_path / "pyproject.toml").write_text((PROJECT / "pyproject.toml").read_text())
    (tmp_path / "services").mkdir()
    shell = 'import subprocess\n\n\ndef run(name: str) -> None:\n    subprocess.run("ls " + name, shell=True)\n'
    (tmp_path / "services" / "risky.py").write_text(shell)
    # Put together, so that this file holds none.
    (tmp_path / "services" / "leak.py").write_text(f'TOKEN = "{"ghp" + "_"}{"a1B2" * 9}"\n')
    for command in (["git", "init", "-q"], ["git", "add", "services"]):
        subprocess.run(command, cwd=tmp_path, check=True)
    return Tools(tmp_path, tools.folder)


def test_a_known_vulnerability_is_a_finding() -> None:
    verdict = vulnerabilities.judged(json.dumps(VULNERABLE), "")
    assert verdict.findings == ("leaky 2.0: GHSA-1, fixed in 2.1: `make lock LOCK_ARGS=--upgrade`",)
    assert "of 1 more nothing is known" in verdict.note


def test_one_that_was_looked_at_is_none() -> None:
    assert vulnerabilities.judged(json.dumps(VULNERABLE), "", {"GHSA-1": "not called here"}).findings == ()


@pytest.mark.parametrize(
    "report", ["", json.dumps({"dependencies": [{"name": "unheard", "skip_reason": "not found"}]})]
)
def test_where_nobody_answers_it_says_so_and_passes(report: str) -> None:
    verdict = vulnerabilities.judged(report, "ConnectionError: no such host")
    assert verdict.findings == ()
    assert verdict.note.startswith("NOT CHECKED: ")


def test_a_licence_that_nobody_agreed_to_is_a_finding() -> None:
    found = licences.judged([("good", "MIT"), ("bad", "AGPL-3.0-only"), ("silent", "UNKNOWN"), ("psycopg", "GPL-3.0")])
    assert [line.partition(":")[0] for line in found.findings] == ["bad", "silent", "psycopg"]


def test_every_package_that_is_installed_has_a_licence_on_the_list(tools: Tools) -> None:
    verdict = licences.check(tools)
    assert verdict.findings == ()
    assert int(verdict.note.split()[0]) > 100


def test_risky_code_is_found(checkout: Tools) -> None:
    findings = risky_code.check(checkout, "services").findings
    assert any("services/risky.py:5: B602" in finding for finding in findings), findings


def test_a_secret_in_a_file_is_found(checkout: Tools) -> None:
    findings = leaked_secrets.check(checkout).findings
    assert any(finding.startswith("services/leak.py:1: ") for finding in findings), findings


def test_the_bill_of_materials_names_packages_and_models_by_their_hashes(tools: Tools, tmp_path: Path) -> None:
    path = tmp_path / "sbom.json"
    count = write_sbom(tools, path)
    parts: dict[str, Any] = {one["name"]: one for one in json.loads(path.read_text())["components"]}
    assert count > 100
    assert parts["pydantic"]["externalReferences"][0]["hashes"]
    for model in MODELS:
        told = {one["name"]: one["hashes"][0]["content"] for one in parts[model.name]["components"]}
        assert told == {file.name: file.sha256 for file in model.files}
