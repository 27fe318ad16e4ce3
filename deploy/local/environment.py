"""The virtual environment: `.venv` with exactly the locked dependencies, and `.venv/bin/rag`."""

import contextlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from deploy.local.errors import SetupError
from deploy.local.filesystem import free_bytes, require_free, write_atomically
from deploy.local.packages import Pip
from deploy.local.progress import Progress
from deploy.local.stamp import Stamp, lock_file

# Measured: what each lock adds to `.venv` plus its wheels while pip unpacks them, rounded up.
NEEDED_BYTES = {"runtime": 800 * 10**6, "dev": 300 * 10**6}
# The first pip with `--python`.
OLDEST_PIP_FROM_OUTSIDE = (22, 3)
COMMAND_TIMEOUT_SECONDS = 120
COMPILE_TIMEOUT_SECONDS = 300
# Its lock holds pip and nothing else.
INSTALLER = "installer"
PINNED_WHEELS = ("install", "--no-deps", "--only-binary=:all:", "--require-hashes")
PINNED = re.compile(r"^[A-Za-z0-9._-]+==", re.MULTILINE)
LAUNCHER = """\
#!/bin/sh
'''exec' {python} "$0" "$@"
' '''
import sys

from services.cli.main import main

sys.exit(main())
"""


def ensure_environment(
    root: Path, levels: tuple[str, ...], progress: Progress, free: Callable[[Path], int] = free_bytes
) -> None:
    """Leaves `.venv`, a folder that the caller holds, as the lock files say; does nothing when it already is.

    A changed lock, Python or folder starts from nothing, so that what left the lock leaves `.venv` too.
    """
    venv = root / ".venv"
    wanted = Stamp.wanted(root, levels)
    installed = Stamp.read(venv)
    if installed is not None and installed.agrees(wanted):
        missing, kept = installed.missing(wanted), installed.locks
    else:
        missing, kept = list(wanted.locks), {}
    if not missing:
        return
    require_free(venv, sum(NEEDED_BYTES[level] for level in missing), "the dependencies", free)
    if not kept:
        create(venv, progress)
        install_installer(root, progress)
    install(root, missing[-1], progress)
    compile_packages(venv, progress)
    link_project(root)
    Stamp(wanted.python, wanted.root, {**kept, **wanted.locks}).write(venv)


def create(venv: Path, progress: Progress) -> None:
    """Makes an empty virtual environment of the running Python, with pip when Python brings it."""
    without_pip = [] if has_ensurepip() else ["--without-pip"]
    progress.say(f"Creating {venv} with Python {sys.version.split()[0]}")
    command = [sys.executable, "-I", "-m", "venv", "--clear", *without_pip, str(venv)]
    made = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_SECONDS, check=False)
    if made.returncode != 0:
        said = (made.stderr or made.stdout).strip().splitlines()
        raise SetupError(f"{sys.executable} cannot create {venv}: {said[-1] if said else 'it gave no reason'}")


def has_ensurepip() -> bool:
    """Whether this Python can put pip into a virtual environment (Debian's cannot without python3-venv)."""
    return importlib.util.find_spec("ensurepip") is not None


def system_pip() -> tuple[str, ...]:
    """A pip that can install into `.venv` from outside: this Python's own; raises SetupError when it has none."""
    for python in dict.fromkeys((sys.executable, os.path.realpath(sys.executable))):
        command = (python, "-I", "-m", "pip")
        asked = subprocess.run(
            [*command, "--version"], capture_output=True, text=True, timeout=COMMAND_TIMEOUT_SECONDS, check=False
        )
        found = re.match(r"pip (\d+)\.(\d+)", asked.stdout)
        if found and (int(found[1]), int(found[2])) >= OLDEST_PIP_FROM_OUTSIDE:
            return command
    package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    raise SetupError(
        f"{sys.executable} has neither ensurepip nor pip: install one "
        f"(Debian and Ubuntu, as root: apt install {package}) and run the command again"
    )


def pip_for(venv: Path) -> Pip:
    """The pip inside `venv`, or the system's working on it."""
    python = str(venv / "bin" / "python")
    own = (venv / "bin" / "pip").exists()
    command = (python, "-I", "-m", "pip") if own else (*system_pip(), "--python", python)
    return Pip(command=command, log=venv / "setup.log")


def install_installer(root: Path, progress: Progress) -> None:
    """Puts the pinned pip into `.venv`: that of an older Python takes two and a half times as long for all the rest."""
    venv = root / ".venv"
    arguments = [*PINNED_WHEELS, "-r", str(lock_file(root, INSTALLER))]
    with tempfile.TemporaryDirectory(prefix=".unpack-", dir=venv) as scratch, progress.step("Installing pip") as show:
        pip_for(venv).run(arguments, Path(scratch), lambda: show(0.0))


def compile_packages(venv: Path, progress: Progress) -> None:
    """Compiles what was installed, on all cores: the first start of each process would have to.

    A file in the syntax of another Python stays as it is; whoever wrote it imports it nowhere else.
    """
    [site_packages] = venv.glob("lib/python*/site-packages")
    command = [str(venv / "bin" / "python"), "-I", "-m", "compileall", "-q", "-j", "0", str(site_packages)]
    # Neither does a slow machine keep anybody from starting: what is left is compiled by whoever imports it first.
    with progress.step("Compiling") as show, contextlib.suppress(subprocess.TimeoutExpired):
        show(0.0)
        subprocess.run(command, capture_output=True, timeout=COMPILE_TIMEOUT_SECONDS, check=False)


def install(root: Path, level: str, progress: Progress) -> None:
    """Installs one lock file into `.venv`: wheels only, each with a pinned hash, nothing that is not listed."""
    venv, lock = root / ".venv", lock_file(root, level)
    total = len(PINNED.findall(lock.read_text(encoding="utf-8")))
    pip = pip_for(venv)
    arguments = [*PINNED_WHEELS, "--no-compile", "-r", str(lock)]
    with (
        tempfile.TemporaryDirectory(prefix=".unpack-", dir=venv) as scratch,
        progress.step(f"Installing {total} dependencies") as show,
    ):
        pip.run(arguments, Path(scratch), lambda: show(_fraction(pip, venv, total)))


def _fraction(pip: Pip, venv: Path, total: int) -> float:
    fetched = len(re.findall(r"^(?:Collecting|Requirement already)", pip.output(), re.MULTILINE))
    unpacked = sum(1 for _ in venv.glob("lib/python*/site-packages/*.dist-info"))
    return (fetched + unpacked) / (2 * total)


def link_project(root: Path) -> None:
    """Makes the project importable in `.venv` from any folder, and writes `.venv/bin/rag`.

    The launcher starts through /bin/sh because a `#!` line cannot hold a path with spaces.
    """
    venv = root / ".venv"
    [site_packages] = venv.glob("lib/python*/site-packages")
    write_atomically(site_packages / "project.pth", f"{root}\n")
    python = shlex.quote(os.fspath(venv / "bin" / "python"))
    write_atomically(venv / "bin" / "rag", LAUNCHER.format(python=python), mode=0o755)
