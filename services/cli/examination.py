"""Runs the checks behind `rag doctor`, in the order in which one failure explains the next."""

import asyncio
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final

from rich.table import Table
from rich.text import Text

from services.cli.data_folder import DataFolder
from services.cli.errors import EXIT_FAILURE
from services.cli.findings import Finding, Verdict
from services.cli.machine_checks import check_data_folder, check_models, check_python
from services.cli.platform_checks import check_platform
from services.cli.settings import LauncherSettings, load
from services.cli.terminal import print_json, show

_MARKS: Final = {Verdict.GOOD: ("✓", "green"), Verdict.BAD: ("✗", "red"), Verdict.SKIPPED: ("-", "dim")}


def examine(url: str, data: Path | None, *, as_json: bool) -> int:
    """Run every check and print the findings; returns the exit code."""
    settings = load(LauncherSettings)
    folder = DataFolder((data or settings.data_dir).absolute())
    settings = settings.model_copy(update={"data_dir": folder.root})
    findings = [check_python(sys.version_info[:2]), check_models(settings), check_data_folder(folder)]
    findings += asyncio.run(check_platform(url, settings))
    healthy = all(finding.verdict is not Verdict.BAD for finding in findings)
    if as_json:
        print_json({"healthy": healthy, "checks": [asdict(finding) for finding in findings]})
    else:
        _print(findings)
    return 0 if healthy else EXIT_FAILURE


def _print(findings: list[Finding]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        mark, style = _MARKS[finding.verdict]
        table.add_row(Text(mark, style=style), finding.check, finding.message)
    show(table)
