"""The table of outages in the documentation names tests that exist, and every test of an outage."""

import ast
import re
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
OUTAGES = Path(__file__).resolve().parent
HEADING = "## When something is away"


def named() -> set[tuple[str, str]]:
    """Return file and function of every test that the part of the document names."""
    document = (PROJECT / "docs" / "operations.md").read_text()
    part = document.partition(HEADING)[2].partition("\n## ")[0]
    return set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", part))


def names_in(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text()))
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {node.name for node in functions if node.name.startswith("test_")}


def test_every_row_is_backed_by_a_test_that_exists() -> None:
    found = named()
    assert len(found) > 5
    missing = {(path, name) for path, name in found if name not in names_in(PROJECT / path)}
    assert missing == set()


def test_every_test_of_an_outage_backs_a_row() -> None:
    files = sorted(set(OUTAGES.glob("test_*.py")) - {Path(__file__).resolve()})
    existing = {(str(path.relative_to(PROJECT)), name) for path in files for name in names_in(path)}
    assert existing - named() == set()
