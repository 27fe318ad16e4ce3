"""Chooses the Python that sets this folder up, and hands over to `deploy.local.install` running on it.

Written for Python 3.6, so that an old interpreter answers with one line instead of a syntax error.
"""

import os
import shutil
import subprocess
import sys
from typing import List, Optional, Sequence, Tuple

OLDEST = (3, 11)
# Nothing newer: the locked dependencies have no wheels for it.
NEWEST = (3, 14)
# The tested ones first; python3.14 was only resolved against, so it is the last resort.
CANDIDATES = ("python3.13", "python3.12", "python3.11", "python3", "python3.14")
PROBE = "import sys; print(*sys.version_info[:2]); print(sys.executable)"
PROBE_TIMEOUT_SECONDS = 20
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class NoPython(Exception):
    """No usable interpreter; the message is one line for the person at the keyboard."""


def choose(asked: Optional[str], root: str) -> str:
    """The path of the interpreter to use: `asked` when given, else the one of `root`'s .venv, else the first that fits.

    Raises NoPython.
    """
    candidates = [asked] if asked else [*previous(root), *CANDIDATES]
    found = []
    for candidate in candidates:
        probed = probe(candidate)
        if probed is not None:
            version, path = probed
            if OLDEST <= version <= NEWEST:
                return path
            found.append(f"{version[0]}.{version[1]} ({path})")
    raise NoPython(refusal(asked, found))


def previous(root: str) -> List[str]:
    """The interpreter of a finished .venv, so that a newer one appearing on PATH does not rebuild it."""
    venv = os.path.join(root, ".venv")
    if not os.path.exists(os.path.join(venv, "setup.json")):
        return []
    try:
        with open(os.path.join(venv, "pyvenv.cfg")) as lines:
            return [line.split("=", 1)[1].strip() for line in lines if line.startswith("executable")]
    except OSError:
        return []


def probe(candidate: str) -> Optional[Tuple[Tuple[int, int], str]]:
    """The version and path of a command; None when it is not there or does not run."""
    command = shutil.which(candidate)
    if command is None:
        return None
    try:
        output = subprocess.check_output(
            [command, "-E", "-s", "-c", PROBE], stderr=subprocess.DEVNULL, timeout=PROBE_TIMEOUT_SECONDS
        )
        version, path = output.decode().splitlines()
        major, minor = version.split()
        return (int(major), int(minor)), path
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def refusal(asked: Optional[str], found: Sequence[str]) -> str:
    """One line: what is needed, what was found, what to do."""
    needed = f"Python {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]} is needed"
    if asked and not found:
        return f"{needed}, but PYTHON={asked} does not run: name another, as in make PYTHON=/usr/bin/python3"
    return (
        f"{needed}, found {', '.join(sorted(set(found))) or 'none'}: install one (Debian and Ubuntu: apt install "
        "python3 python3-venv) or name one, as in make PYTHON=/path/to/python3.12"
    )


def main(arguments: Sequence[str]) -> int:
    """Never returns when an interpreter is found: the process becomes `deploy.local.install`."""
    try:
        python = choose(os.environ.get("PYTHON"), ROOT)
    except NoPython as error:
        sys.stderr.write(f"setup: {error}\n")
        return 1
    os.chdir(ROOT)
    # -E and -S: no variable and no installed package may stand in for the standard library or for this project.
    os.execv(python, [python, "-E", "-S", "-m", "deploy.local.install", *arguments])  # nosec B606


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
