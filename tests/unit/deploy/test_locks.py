import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).resolve().parents[3]
LOCKED = re.compile(r"^([\w.-]+)==(\S+)((?:[^\n]*\\\n)(?:    --hash=sha256:\w{64}(?: \\)?\n)+)", re.MULTILINE)


def pins(level: str) -> dict[str, tuple[str, str]]:
    text = (PROJECT / "requirements" / f"{level}.txt").read_text()
    found = {str(canonicalize_name(one[1])): (str(one[2]), str(one[3])) for one in LOCKED.finditer(text)}
    assert len(found) == len(re.findall(r"^[^ #\n]", text, re.MULTILINE)), "a line is no pin with hashes"
    return found


def test_tests_run_with_the_very_versions_that_users_get() -> None:
    tested = pins("dev")
    assert {name: tested.get(name) for name in pins("runtime")} == pins("runtime")


@pytest.mark.parametrize("level", ["runtime", "dev", "llm", "tools"])
def test_every_declared_dependency_is_locked_at_a_version_it_allows(level: str) -> None:
    """Fails when pyproject.toml was changed without `make lock`."""
    groups = tomllib.loads((PROJECT / "pyproject.toml").read_text())["dependency-groups"]
    locked = pins(level)
    for declared in (Requirement(line) for line in groups[level] if isinstance(line, str)):
        version, _hashes = locked[canonicalize_name(declared.name)]
        assert declared.specifier.contains(version, prereleases=True), declared


@pytest.mark.parametrize("level", ["runtime", "dev", "llm", "tools"])
def test_no_package_index_is_written_into_the_locks(level: str) -> None:
    assert not re.search(r"://|^-", (PROJECT / "requirements" / f"{level}.txt").read_text(), re.MULTILINE)
