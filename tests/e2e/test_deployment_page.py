"""The `rag` commands of docs/deployment.md do what the page says, on a platform that runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.platform_process import PROJECT, RunningPlatform, running_platform

pytestmark = [pytest.mark.slow, pytest.mark.extended, pytest.mark.timeout(240)]

PAGE = (PROJECT / "docs" / "deployment.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line.startswith("rag ")]
SAID = {
    "rag doctor": r"✓",
    "rag status": r"retriever-cleanup",
    "rag ingest": r"indexed, 0 failed",
    "rag ask": r"Sources",
    "rag doctor --reconcile": r"Database and index agree\.",
}


def run(command: str, platform: RunningPlatform) -> subprocess.CompletedProcess[str]:
    named = {"RAG_URL": platform.url, "RAG_DATA_DIR": str(platform.data), "NO_COLOR": "1"}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", command],
        cwd=PROJECT,
        env={**os.environ, **named, "PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_page_s_rag_commands_work_one_after_the_other(tmp_path: Path) -> None:
    """On a platform of its own: others leave dead letters, which the page says there are none of."""
    assert {name for name in SAID if not any(command.startswith(name) for command in COMMANDS)} == set()
    with running_platform(tmp_path / "data") as platform:
        for command in COMMANDS:
            done = run(command, platform)
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
            pattern = SAID.get(command) or next((said for name, said in SAID.items() if command.startswith(name)), "")
            assert re.search(pattern, done.stdout), f"{command}\n{done.stdout}"
        assert re.search(r"[Nn]o dead letters", run("rag dead-letters list", platform).stdout)
