"""Known vulnerabilities in the locked packages, as PyPI's advisories tell them (pip-audit)."""

import json
import subprocess
from collections.abc import Mapping
from typing import Any, Final

from deploy.supply.tools import Tools
from deploy.supply.verdict import Verdict

CHECK: Final = "vulnerabilities"
# Every package is one small request; a network that swallows them must not hold the other checks up.
ASK_SECONDS: Final = 45.0
# What was looked at and does no harm here: the advisory and the reason. Empty is the aim.
ACCEPTED: Final[Mapping[str, str]] = {}

_OPTIONS: Final = (
    "--disable-pip",
    "--require-hashes",
    "--format",
    "json",
    "--progress-spinner",
    "off",
    "--timeout",
    "5",
)


def check(tools: Tools) -> Verdict:
    """Ask for the advisories of every locked package; nobody there to ask is said, and is no finding."""
    try:
        verdicts = [_asked(tools, level) for level in ("dev", "tools")]
    except subprocess.TimeoutExpired:
        return Verdict(CHECK, f"NOT CHECKED: no answer within {ASK_SECONDS:.0f} s")
    findings = dict.fromkeys(finding for verdict in verdicts for finding in verdict.findings)
    return Verdict(CHECK, "; ".join(dict.fromkeys(verdict.note for verdict in verdicts)), tuple(findings))


def _asked(tools: Tools, level: str) -> Verdict:
    arguments = (*_OPTIONS, "-r", f"requirements/{level}.txt")
    done = tools.run("pip_audit", *arguments, seconds=ASK_SECONDS / 2, allowed=(0, 1))
    return judged(done.stdout, done.stderr)


def judged(report: str, said: str, accepted: Mapping[str, str] = ACCEPTED) -> Verdict:
    """Return the verdict on what pip-audit printed; without a report it could not ask, and `said` is the reason."""
    try:
        packages: list[dict[str, Any]] = json.loads(report)["dependencies"]
    except (ValueError, KeyError):
        reason = (said.strip().splitlines() or ["it gave no reason"])[-1]
        return Verdict(CHECK, f"NOT CHECKED: {reason[:200]}")
    findings = tuple(
        f"{one['name']} {one['version']}: {found['id']}, {_remedy(found)}"
        for one in packages
        for found in one.get("vulns", ())
        if found["id"] not in accepted
    )
    unknown = sum("skip_reason" in one for one in packages)
    if unknown == len(packages):
        return Verdict(CHECK, "NOT CHECKED: the advisories of no package could be had", findings)
    return Verdict(CHECK, f"{len(packages) - unknown} packages, of {unknown} more nothing is known", findings)


def _remedy(found: Mapping[str, Any]) -> str:
    fixed = ", ".join(found.get("fix_versions") or ())
    return f"fixed in {fixed}: `make lock LOCK_ARGS=--upgrade`" if fixed else "no version without it yet"
