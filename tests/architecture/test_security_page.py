"""The threat model names tests, and a test that is named is there."""

import re

from tests.architecture.test_rules import PROJECT

ROW = re.compile(r"^\| (?!asset|who|---)(?:[^|]+\|){3}[^|]+\|$", re.MULTILINE)


def test_every_threat_names_tests_that_exist() -> None:
    """A measure whose test was renamed or removed is a claim that nobody checks."""
    sources = [path.read_text(encoding="utf-8") for path in (PROJECT / "tests").rglob("test_*.py")]
    defined = set(re.findall(r"^(?:async )?def (test_\w+)\(", "\n".join(sources), re.MULTILINE))
    rows = ROW.findall((PROJECT / "docs" / "security.md").read_text(encoding="utf-8"))
    assert len(rows) > 20
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row)
        assert named, f"no test: {row}"
        assert set(named) <= defined, f"{sorted(set(named) - defined)}: {row}"
