"""The tools of these checks: a lock and a folder of their own, fetched when they are first needed.

They stay out of `.venv`'s packages, so that set-up does not pay for them and nothing under test can import them.
"""

import hashlib
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from deploy.local.environment import pip_for
from deploy.local.errors import SetupError, one_line_reasons
from deploy.local.filesystem import exclusive, require_free
from deploy.local.progress import Progress
from deploy.local.stamp import lock_file

LEVEL = "tools"
TOOLS_BYTES = 150 * 10**6
RUN_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Tools:
    """The fetched tools, which work on the checkout in `root`."""

    root: Path
    folder: Path

    @property
    def python(self) -> Path:
        """Return the interpreter of the checkout's environment."""
        return self.root / ".venv" / "bin" / "python"

    def run(
        self, module: str, *arguments: str, seconds: float = RUN_SECONDS, allowed: tuple[int, ...] = (0,)
    ) -> subprocess.CompletedProcess[str]:
        """Run one tool in the checkout; RuntimeError with what it said when it ends with a code that is not allowed.

        Raises subprocess.TimeoutExpired when it takes longer than `seconds`.
        """
        search_path = os.pathsep.join((str(self.folder), str(self.root)))
        done = subprocess.run(
            [str(self.python), "-m", module, *arguments],
            cwd=self.root,
            env={**os.environ, "PYTHONPATH": search_path},
            text=True,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
        if done.returncode not in allowed:
            raise RuntimeError(f"{module} ended with {done.returncode}: {(done.stderr or done.stdout)[-2000:]}")
        return done

    def git_files(self, *paths: str) -> list[str]:
        """Return the files that git knows below these paths, or all of them; SetupError without git."""
        command = ["git", "ls-files", "-z", "--", *paths]
        done = subprocess.run(command, cwd=self.root, text=True, capture_output=True, timeout=RUN_SECONDS, check=False)
        if done.returncode != 0:
            raise SetupError(f"git does not know the files of {self.root}: {done.stderr.strip()}")
        return [path for path in done.stdout.split("\0") if path]


def tools_path(root: Path) -> Path:
    """Return where the locked tools lie, or will lie."""
    return root / ".venv" / f"tools-{hashlib.sha256(lock_file(root, LEVEL).read_bytes()).hexdigest()[:12]}"


def ensure_tools(root: Path, progress: Progress) -> Tools:
    """Return the locked tools, fetched where they are missing; SetupError says in one line why they cannot be."""
    venv, target = root / ".venv", tools_path(root)
    with one_line_reasons(), exclusive(venv, progress.say):
        if not target.is_dir():
            require_free(venv, TOOLS_BYTES, "the tools of the checks")
            with tempfile.TemporaryDirectory(prefix=".fetch-", dir=venv) as scratch:
                unpacked = Path(scratch) / "tools"
                arguments = ["install", "--no-deps", "--only-binary=:all:", "--require-hashes", "--target"]
                with progress.step("Fetching the tools of the checks"):
                    lock = str(lock_file(root, LEVEL))
                    pip_for(venv).run([*arguments, str(unpacked), "-r", lock], Path(scratch), lambda: None)
                unpacked.replace(target)
    return Tools(root, target)
