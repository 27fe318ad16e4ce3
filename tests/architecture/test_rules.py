"""Rules of the house that a linter does not know; each says what went wrong where it was not kept."""

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from shared.caching.settings import CacheSettings
from shared.intake_settings import IntakeSettings
from shared.settings import EmbeddingModelSettings

PROJECT = Path(__file__).resolve().parents[2]
PACKAGES = ("contracts", "shared", "services")
SERVICES = ("gateway", "parser", "embedder", "retriever", "agent", "persistence")
LONGEST_MODULE_LINES = 400
LONGEST_APP_LINES = 120
SHARED_SETTINGS = {
    **EmbeddingModelSettings.model_fields,
    **CacheSettings.model_fields,
    **IntakeSettings.model_fields,
}


def sources(*packages: str) -> list[Path]:
    return [path for package in packages for path in (PROJECT / package).rglob("*.py")]


def name(path: Path) -> str:
    return str(path.relative_to(PROJECT))


@pytest.mark.parametrize("path", sources(*PACKAGES), ids=name)
def test_only_the_settings_read_the_environment(path: Path) -> None:
    """A variable read elsewhere is documented nowhere, and one setting soon has two defaults."""
    if name(path) in {"shared/settings.py", "services/cli/settings.py"}:
        return
    reads = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Attribute) and node.attr in {"getenv"})
        or (isinstance(node, ast.Attribute) and node.attr == "environ" and name(path) not in PASSES_ENVIRONMENT_ON)
    ]
    assert reads == [], f"{name(path)} reads the environment in lines {reads}"


# These hand the caller's environment to the processes they start; they look nothing up in it.
PASSES_ENVIRONMENT_ON = {"services/cli/local.py", "services/cli/commands/up.py", "services/parser/sandbox.py"}


@pytest.mark.parametrize("path", sources(*PACKAGES, "tests", "deploy"), ids=name)
def test_no_module_grows_beyond_what_one_reads_in_a_sitting(path: Path) -> None:
    bound = LONGEST_APP_LINES if path.name == "app.py" else LONGEST_MODULE_LINES
    assert len(path.read_text().splitlines()) <= bound


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_reads_alike(service: str) -> None:
    folder = PROJECT / "services" / service
    for file in ("app.py", "settings.py", "README.md"):
        assert (folder / file).is_file(), f"services/{service}/{file} is missing"


def test_nothing_happens_at_import() -> None:
    """INVARIANT: importing any module needs no environment, opens no socket and starts no thread.

    A client made at import makes every test and every tool depend on a server that only one function needs.
    """
    modules = [
        ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")
        for path in sources(*PACKAGES)
        if "migrations" not in path.parts and path.name != "__main__.py"
    ]
    script = (
        "import socket, threading, importlib, sys\n"
        "def refuse(*a, **k): raise AssertionError('a socket was opened at import')\n"
        "socket.socket.connect = refuse\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "left = [t.name for t in threading.enumerate() if t is not threading.main_thread()]\n"
        "assert not left, left\n"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("service", SERVICES)
def test_every_setting_says_what_it_is_for(service: str) -> None:
    module = importlib.import_module(f"services.{service}.settings")
    settings = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__ and hasattr(value, "model_fields")
    ]
    assert settings
    undescribed = [field for one in settings for field, info in one.model_fields.items() if not info.description]
    assert undescribed == []


@pytest.mark.parametrize("service", [*SERVICES, "cli"])
def test_the_readme_of_a_service_lists_every_setting_of_its_own(service: str) -> None:
    readme = (PROJECT / "services" / service / "README.md").read_text(encoding="utf-8")
    shared = SHARED_SETTINGS.keys()
    module = importlib.import_module(f"services.{service}.settings")
    own = {
        field
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__ and issubclass(value, BaseSettings)
        for field in value.model_fields
    }
    missing = [f"RAG_{field.upper()}" for field in sorted(own - shared) if f"RAG_{field.upper()}" not in readme]
    assert missing == []


def test_the_configuration_page_lists_every_shared_setting_with_its_meaning() -> None:
    page = (PROJECT / "docs" / "configuration.md").read_text(encoding="utf-8")
    for field, info in SHARED_SETTINGS.items():
        line = next((line for line in page.splitlines() if line.startswith(f"| `RAG_{field.upper()}` |")), None)
        assert line is not None, f"RAG_{field.upper()} is missing"
        assert (info.description or "") in line
