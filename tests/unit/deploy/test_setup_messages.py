import io
import subprocess
import threading
from pathlib import Path

import pytest

from deploy.local.errors import SetupError, one_line_reasons
from deploy.local.filesystem import exclusive, require_free
from deploy.local.packages import reason
from deploy.local.progress import Progress


@pytest.fixture
def shown() -> io.StringIO:
    return io.StringIO()


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "the disk is full"),
        (
            "WARNING: Retrying after connection broken by 'NewConnectionError(...)'\n"
            "ERROR: No matching distribution found for alembic==1.20.1",
            "the package index cannot be reached (NewConnectionError)",
        ),
        ("ERROR: No matching distribution found for numpy==2.4.6", "no wheel of numpy==2.4.6"),
        (
            "ERROR: Exception:\nTraceback ...\nAttributeError: no such thing",
            "pip failed: AttributeError: no such thing",
        ),
        ("ERROR: it is Tuesday\nmore\n", "pip failed: ERROR: it is Tuesday"),
        ("", "pip failed: it gave no reason"),
    ],
)
def test_the_reason_of_a_failure_is_told_in_one_line(output: str, said: str) -> None:
    assert said in reason(output)
    assert "\n" not in reason(output)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device", "/x"), r"the disk is full \(/x\): free"),
        (PermissionError(13, "Permission denied", "/x"), r"no permission to write here \(/x\): run"),
        (OSError(5, "Input/output error", "/x"), r"Input/output error \(/x\): mend"),
        (subprocess.TimeoutExpired(["python3", "-m", "venv"], 120.0), r"python3 did not end within 120 s: run"),
    ],
)
def test_what_the_system_refuses_is_told_in_one_line(error: Exception, said: str) -> None:
    with pytest.raises(SetupError, match=said), one_line_reasons():
        raise error


def test_enough_space_is_enough(tmp_path: Path) -> None:
    require_free(tmp_path, 100, "the models", free=lambda _folder: 100)


def test_without_a_terminal_a_step_is_one_line(shown: io.StringIO) -> None:
    with Progress(shown).step("Fetching models") as show:
        for percent in range(100):
            show(percent / 100)
    assert shown.getvalue() == "Fetching models\n"


def test_on_a_terminal_a_bar_reaches_the_end() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    with Progress(terminal).step("Fetching models") as show:
        show(0.5)
    frames = terminal.getvalue().split("\r")
    assert [frame.split()[-1] for frame in frames[1:]] == ["0%", "50%", "100%"]
    assert "#" * 15 + "-" * 15 in frames[2]


def test_two_set_ups_do_not_work_in_one_folder_at_once(tmp_path: Path) -> None:
    waits, worked = threading.Event(), threading.Event()

    def second() -> None:
        with exclusive(tmp_path, lambda _line: waits.set()):
            worked.set()

    with exclusive(tmp_path, lambda _line: None):
        thread = threading.Thread(target=second)
        thread.start()
        assert waits.wait(timeout=5)
        assert not worked.is_set()
    thread.join(timeout=5)
    assert worked.is_set()
