"""Risky constructs in our own code (bandit, configured in pyproject.toml)."""

import json
from typing import Final

from deploy.supply.tools import Tools
from deploy.supply.verdict import Verdict

CHECK: Final = "risky code"
FOLDERS: Final = ("contracts", "shared", "services", "deploy")


def check(tools: Tools, *folders: str) -> Verdict:
    """Return what bandit finds in our folders; a line that is meant carries `# nosec` with its number and a reason."""
    arguments = ("-c", "pyproject.toml", "-q", "-f", "json", "-r", *(folders or FOLDERS))
    report = json.loads(tools.run("bandit", *arguments, allowed=(0, 1)).stdout)
    findings = [
        f"{one['filename']}:{one['line_number']}: {one['test_id']} {one['issue_text']}" for one in report["results"]
    ]
    # A file that cannot be read was not checked.
    findings += [f"{one['filename']}: {one['reason']}" for one in report["errors"]]
    return Verdict(CHECK, f"{report['metrics']['_totals']['loc']} lines", tuple(findings))
