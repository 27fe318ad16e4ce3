import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import environment, setup
from deploy.local.errors import SetupError


def fake_python(path: Path, version: str) -> Path:
    """A command that answers set-up's question like a Python of that version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {version}\necho {path}\n")
    path.chmod(0o755)
    return path


def test_the_first_step_is_written_for_python_3_6() -> None:
    """INVARIANT: an old interpreter gets as far as saying that it is too old."""
    ast.parse(Path(setup.__file__).read_text(), feature_version=(3, 6))


@pytest.mark.parametrize(
    ("versions", "chosen"),
    [
        ({"python3": "3 9", "python3.11": "3 11"}, "python3.11"),
        ({"python3": "3 11", "python3.12": "3 12", "python3.13": "3 13"}, "python3.13"),
        ({"python3": "3 12"}, "python3"),
        ({"python3": "3 15", "python3.14": "3 14"}, "python3.14"),
        ({"python3": "3 11", "python3.13": ""}, "python3"),
    ],
    ids=["too-old", "newest", "plain-name", "too-new", "does-not-run"],
)
def test_the_newest_python_that_fits_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, versions: dict[str, str], chosen: str
) -> None:
    for command, version in versions.items():
        fake_python(tmp_path / "bin" / command, version)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert setup.choose(None, str(tmp_path)) == str(tmp_path / "bin" / chosen)


@pytest.mark.parametrize(("finished", "chosen"), [(True, "python3.11"), (False, "python3.13")])
def test_only_a_finished_environment_keeps_its_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: bool, chosen: str
) -> None:
    first = fake_python(tmp_path / "first" / "python3.11", "3 11")
    fake_python(tmp_path / "bin" / "python3.13", "3 13")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "pyvenv.cfg").write_text(f"version = 3.11.2\nexecutable = {first}\n")
    if finished:
        (tmp_path / ".venv" / "setup.json").write_text("{}")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert Path(setup.choose(None, str(tmp_path))).name == chosen


def test_the_python_that_was_asked_for_is_used_or_refused_but_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_python(tmp_path / "bin" / "python3", "3 13")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    asked = fake_python(tmp_path / "mine" / "python", "3 12")
    assert setup.choose(str(asked), str(tmp_path)) == str(asked)
    with pytest.raises(setup.NoPython, match=r"but PYTHON=/nowhere/python does not run"):
        setup.choose("/nowhere/python", str(tmp_path))


def test_an_old_python_is_answered_with_one_line_and_a_failing_exit(tmp_path: Path) -> None:
    entry = tmp_path / "deploy" / "local" / "setup.py"
    entry.parent.mkdir(parents=True)
    shutil.copy(setup.__file__, entry)
    fake_python(tmp_path / "bin" / "python3", "3 9")
    done = subprocess.run(
        [sys.executable, str(entry)], env={"PATH": str(tmp_path / "bin")}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(
        r"setup: Python 3\.11 to 3\.14 is needed, found 3\.9 \(\S+/python3\): install one .*make PYTHON=.*\n",
        done.stderr,
    )


def test_a_python_without_ensurepip_and_pip_is_answered_with_the_package_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(fake_python(tmp_path / "python3", "no pip")))
    with pytest.raises(SetupError, match=r"neither ensurepip nor pip: install one .*apt install python3\.\d+-venv"):
        environment.pip_for(tmp_path / ".venv")
