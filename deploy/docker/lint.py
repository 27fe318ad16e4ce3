"""hadolint over the Dockerfile: `python -m deploy.docker.lint`. It is one of the tools that `make check` fetches."""

import subprocess
import sys
from pathlib import Path
from typing import Final

from deploy.docker.images import DOCKERFILE
from deploy.local.errors import SetupError
from deploy.local.install import ROOT
from deploy.local.progress import Progress
from deploy.supply.tools import Tools, ensure_tools

LINT_SECONDS: Final = 60.0


def findings(tools: Tools, dockerfile: Path) -> list[str]:
    """Return what hadolint says of a Dockerfile, a line each; RuntimeError when it could not read it."""
    command = [str(tools.folder / "bin" / "hadolint"), "--no-color", str(dockerfile)]
    done = subprocess.run(command, cwd=tools.root, capture_output=True, text=True, timeout=LINT_SECONDS, check=False)
    if done.returncode and not done.stdout:
        raise RuntimeError(f"hadolint ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout.splitlines()


def main() -> int:
    """Print the findings; return 1 when there are any. Without a network it says what it did not check, and passes."""
    try:
        found = findings(ensure_tools(ROOT, Progress(sys.stderr)), DOCKERFILE)
    except SetupError as error:
        sys.stderr.write(f"lint-images: NOT CHECKED: {error}\n")
        return 0
    sys.stdout.write("".join(f"{line}\n" for line in found))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
