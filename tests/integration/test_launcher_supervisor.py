"""One supervised process: started again when it dies, ended when told, whatever it is just doing."""

import asyncio
import io
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from services.cli.process_logs import LineWriter, ProcessLog
from services.cli.supervisor import Ending, ProcessFailed, ProcessSpec, RestartPolicy, SupervisedProcess

QUICK = RestartPolicy(first_seconds=0.01, longest_seconds=0.03, healthy_after_seconds=60)
SLEEP = "import time; print('up', flush=True); time.sleep(60)"

NOWHERE = "http://127.0.0.1:1"

Supervise = Callable[..., SupervisedProcess]


@pytest.fixture
async def said() -> list[str]:
    return []


@pytest.fixture
async def supervise(tmp_path: Path, said: list[str]) -> AsyncIterator[Supervise]:
    terminal = LineWriter(io.StringIO())
    log = ProcessLog("one", tmp_path, terminal, "one |")
    made: list[SupervisedProcess] = []

    def make(
        *command: str, policy: RestartPolicy = QUICK, live_url: str = NOWHERE, niceness: int = 0
    ) -> SupervisedProcess:
        spec = ProcessSpec(
            "one", command or (sys.executable, "-c", SLEEP), dict(os.environ), NOWHERE, live_url, niceness
        )
        made.append(SupervisedProcess(spec, log, said.append, policy=policy))
        return made[-1]

    yield make
    for process in made:
        process.kill()
    log.close()
    terminal.close()


async def until(condition: Callable[[], object]) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("did not happen within 10 s")


async def test_a_process_that_dies_comes_back_later_and_later(supervise: Supervise, said: list[str]) -> None:
    process = supervise(sys.executable, "-c", "raise SystemExit(7)")
    process.was_ready = True
    running = asyncio.create_task(process.run())
    await until(lambda: len(said) >= 4)
    process.terminate()
    await running
    delays = [line.rpartition(" in ")[2] for line in said[:4]]
    assert delays == ["0.01 s", "0.02 s", "0.03 s", "0.03 s"]
    assert all("one ended with exit code 7 after" in line for line in said)


async def test_a_process_that_lived_long_comes_back_at_once(supervise: Supervise, said: list[str]) -> None:
    policy = RestartPolicy(first_seconds=0.01, longest_seconds=5.0, healthy_after_seconds=0.0)
    process = supervise(sys.executable, "-c", "raise SystemExit(7)", policy=policy)
    process.was_ready = True
    running = asyncio.create_task(process.run())
    await until(lambda: len(said) >= 3)
    process.terminate()
    await running
    assert [line.rpartition(" in ")[2] for line in said[:3]] == ["0.01 s"] * 3


async def test_a_process_that_cannot_be_found_is_a_failure_with_its_reason(supervise: Supervise) -> None:
    with pytest.raises(ProcessFailed, match="it ended 3 times with exit code 1; its last lines") as failed:
        await supervise("/no/such/program").run()
    assert "/no/such/program cannot be started: No such file or directory" in str(failed.value)


async def test_an_end_that_is_asked_for_while_the_process_starts_is_not_lost(supervise: Supervise) -> None:
    process = supervise()
    running = asyncio.create_task(process.run())
    await asyncio.sleep(0)
    assert process.pid is None
    process.terminate()
    async with asyncio.timeout(5):
        await running


async def test_a_kill_takes_along_what_the_process_started(supervise: Supervise, tmp_path: Path) -> None:
    marker = tmp_path / "grandchild"
    code = (
        "import subprocess, sys, time; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        f"open({str(marker)!r}, 'w').write(str(child.pid)); time.sleep(60)"
    )
    process = supervise(sys.executable, "-c", code)
    running = asyncio.create_task(process.run())
    await until(lambda: marker.exists() and marker.read_text())
    process.kill()
    await running
    grandchild = int(marker.read_text())
    await until(lambda: not _runs(grandchild))


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        (Ending(0), "exit code 0"),
        (Ending(70), "exit code 70"),
        (Ending(-signal.SIGSEGV), "signal SIGSEGV"),
        (Ending(-250), "signal 250"),
        (Ending(None, "out of memory"), "no process (out of memory)"),
    ],
)
def test_an_ending_is_said_in_words(ending: Ending, words: str) -> None:
    assert str(ending) == words


async def test_a_process_steps_back_behind_the_sessions_of_others(supervise: Supervise) -> None:
    if not _has_sessions():
        pytest.skip("this kernel does not share the processor by sessions")
    process = supervise(niceness=10)
    running = asyncio.create_task(process.run())
    await until(lambda: process.pid and _niceness(process.pid) == 10)
    process.kill()
    await running


def _has_sessions() -> bool:
    return Path("/proc/self/autogroup").exists()


def _niceness(pid: int) -> int:
    """Return the niceness of a process's session, 0 while it has none of its own."""
    words = Path(f"/proc/{pid}/autogroup").read_text().split()
    return int(words[-1]) if words else 0
