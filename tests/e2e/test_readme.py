"""Every command of the README does what the README says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from services.cli.scaling import parse_scale
from tests.platform_process import PROJECT, RunningPlatform, running_platform

# Loading this project's own documents takes a minute and more when other tests keep the processor busy.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
COMMAND_SECONDS = 240

README = (PROJECT / "README.md").read_text(encoding="utf-8")
# Run by the user's shell or by continuous integration itself, not by a test within it.
RUN_ELSEWHERE = ("make run", "make test", "source ", "rag up")
GATEWAY, BROKER = "http://127.0.0.1:8000", "nats://127.0.0.1:4222"


def shell_commands() -> list[str]:
    """Return the commands of the README's shell blocks, continued lines joined."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line.strip()]


COMMANDS = [command for command in shell_commands() if not command.startswith(RUN_ELSEWHERE)]
EXPECTED = {
    "rag ingest README.md docs/architecture.md docs/operations.md": r"indexed, 0 failed",
    "rag search": r"README|architecture",
    "rag ask": r"Sources",
    "rag status": r"retriever-cleanup",
}


def run(command: str, platform: RunningPlatform) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "RAG_URL": platform.url,
        "NO_COLOR": "1",
    }
    addressed = command.replace(GATEWAY, platform.url)
    return subprocess.run(
        ["bash", "-c", addressed],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )


def test_the_readme_s_commands_work_one_after_the_other(platform: RunningPlatform) -> None:
    assert len(COMMANDS) >= 6
    for command in COMMANDS:
        done = run(command, platform)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        pattern = next((pattern for start, pattern in EXPECTED.items() if command.startswith(start)), ".")
        assert re.search(pattern, done.stdout), f"{command}\n{done.stdout}"
    assert "1969" in run(COMMANDS[-1], platform).stdout


def test_the_readme_s_openai_client_gets_an_answer_with_its_source(platform: RunningPlatform) -> None:
    (script,) = (block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "openai" in block)
    loading = next(command for command in COMMANDS if "moon" in command)
    assert run(loading, platform).returncode == 0
    done = subprocess.run(
        [sys.executable, "-c", script.replace(GATEWAY, platform.url)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"20 July 1969\. \[1\].*\n\n\[1\] moon", done.stdout, re.DOTALL)


def scaling() -> list[str]:
    """Return the options of the README's scaled platform."""
    return next(command for command in shell_commands() if command.startswith("rag up")).split()[2:]


def test_the_readme_s_scaled_platform_is_one_that_can_be_planned() -> None:
    """That replicas start and stop is `test_launcher.py`'s part; this is only about what the README says."""
    assert scaling()[::2] == ["--scale"] * (len(scaling()) // 2)
    replicas = parse_scale(scaling()[1::2])
    assert (replicas["parser"], replicas["embedder"]) == (2, 2)


@pytest.mark.extended
def test_the_readme_s_scaled_platform_starts_with_the_replicas_it_names(tmp_path: Path) -> None:
    with running_platform(tmp_path / "data", *scaling()) as platform:
        assert {"parser.1", "parser.2", "embedder.1", "embedder.2"} <= set(platform.ready["pids"])
        assert platform.stop() == 0


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)\)", README))))
def test_every_link_of_the_readme_leads_somewhere(link: str) -> None:
    assert (PROJECT / link).exists()
