"""The lock files, read as a test needs them."""

import re
import tomllib
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

PROJECT = Path(__file__).resolve().parents[3]
LOCKED = re.compile(r"^([\w.-]+)==(\S+)((?:[^\n]*\\\n)(?:    --hash=sha256:\w{64}(?: \\)?\n)+)", re.MULTILINE)


def pins(level: str) -> dict[str, tuple[str, str]]:
    """Return version and hashes of each package of a lock; every line has to be a pin."""
    text = (PROJECT / "requirements" / f"{level}.txt").read_text()
    found = {str(canonicalize_name(one[1])): (str(one[2]), str(one[3])) for one in LOCKED.finditer(text)}
    assert len(found) == len(re.findall(r"^[^ #\n]", text, re.MULTILINE)), "a line is no pin with hashes"
    return found


def groups() -> dict[str, list[Any]]:
    """Return the dependency groups as pyproject.toml has them."""
    declared: dict[str, list[Any]] = tomllib.loads((PROJECT / "pyproject.toml").read_text())["dependency-groups"]
    return declared


def declared(group: str) -> list[str]:
    """Return the requirements of a group and of those it includes."""
    lines: list[str] = []
    for entry in groups()[group]:
        lines += [entry] if isinstance(entry, str) else declared(entry["include-group"])
    return lines
