"""Tests that start whole platforms are where the scheduling of the tests expects them."""

import re
from pathlib import Path

from tests.platform_process import PROJECT
from tests.scheduling import scope_of

STARTS = re.compile(r"\b(?:running|start)_platform\(")


def test_every_test_that_starts_a_platform_runs_where_one_runs_at_a_time() -> None:
    files = [path for path in (PROJECT / "tests").rglob("*.py") if path.name.startswith(("test_", "conftest"))]
    starting = [path for path in files if STARTS.search(path.read_text(encoding="utf-8"))]
    assert len(starting) > 10
    # These have targets of their own, which run one test at a time.
    elsewhere = {PROJECT / "tests" / folder for folder in ("images", "llm")}
    assert [str(path) for path in starting if not elsewhere & set(path.parents) and not _is_alone(path)] == []


def test_a_file_of_any_other_folder_stays_together() -> None:
    assert scope_of("tests/unit/cli/test_main.py::test_x[a::b]") == "tests/unit/cli/test_main.py"
    assert scope_of("tests/e2e/test_search.py::test_x") == scope_of("tests/chaos/test_short_run.py::test_y")


def _is_alone(path: Path) -> bool:
    return scope_of(path.relative_to(PROJECT).as_posix()) == "platforms"
