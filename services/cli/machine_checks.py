"""What `rag doctor` checks without anything running: Python, the models, the data folder."""

import os
import stat
from pathlib import Path
from typing import Final

from services.cli.data_folder import MIB, DataFolder
from services.cli.errors import CommandError
from services.cli.findings import Finding, bad, good, skipped
from services.cli.settings import LauncherSettings
from shared import models
from shared.addresses import host_of

OLDEST_PYTHON: Final = (3, 11)
NEWEST_PYTHON: Final = (3, 14)


def check_python(version: tuple[int, int]) -> Finding:
    """Check that the dependencies exist for this Python."""
    found = ".".join(map(str, version))
    if OLDEST_PYTHON <= version <= NEWEST_PYTHON:
        return good("python", found)
    wanted = f"{'.'.join(map(str, OLDEST_PYTHON))} to {'.'.join(map(str, NEWEST_PYTHON))}"
    return bad("python", f"{found} is not supported; run `make setup PYTHON=…` with {wanted}")


def check_models(settings: LauncherSettings) -> Finding:
    """Check the content of every model file, when the models of this machine are used."""
    if settings.embedding_url:
        return good("models", f"vectors come from {host_of(settings.embedding_url)}")
    try:
        for model in models.MODELS:
            models.verify(model.name, settings.models_dir)
    except models.ModelError as error:
        return bad("models", str(error))
    return good("models", f"{len(models.MODELS)} intact in {settings.models_dir}")


def check_data_folder(data: DataFolder) -> Finding:
    """Check that the data folder can be written, has room, and keeps its secrets."""
    if not data.root.is_dir():
        return skipped("data folder", f"{data.root} does not exist yet; `rag up` makes it")
    if not os.access(data.root, os.R_OK | os.W_OK | os.X_OK):
        return bad("data folder", f"{data.root} cannot be written by this user; run as its owner or use --data")
    exposed = [path for path in (data.broker_config, *sorted(data.secrets.glob("*"))) if _is_exposed(path)]
    if exposed:
        return bad("data folder", f"others may read {exposed[0]}; run `chmod 600 {exposed[0]}`")
    try:
        data.require_space()
    except CommandError as error:
        return bad("data folder", str(error))
    return good("data folder", f"{data.root}, {data.free_bytes() // MIB} MiB free")


def _is_exposed(path: Path) -> bool:
    return path.exists() and bool(stat.S_IMODE(path.stat().st_mode) & 0o077)
