"""Guards around the folders that set-up writes to."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local.errors import SetupError


def free_bytes(folder: Path) -> int:
    """Bytes an ordinary user may still write on the folder's file system."""
    return shutil.disk_usage(folder).free


def require_free(folder: Path, needed_bytes: int, what: str, free: Callable[[Path], int] = free_bytes) -> None:
    """Raises SetupError when `folder`, which exists, has no room for `needed_bytes`."""
    available_bytes = free(folder)
    if available_bytes < needed_bytes:
        raise SetupError(
            f"not enough disk space for {what}: {folder} has {available_bytes // 10**6} MB free, "
            f"{needed_bytes // 10**6} MB are needed; free some and run the command again"
        )


@contextmanager
def exclusive(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Creates `folder` and keeps every other set-up out of it for the block; a killed holder's lock ends with it."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"Another set-up is working in {folder}; waiting for it to end.")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_atomically(path: Path, text: str, mode: int = 0o644) -> None:
    """Replaces `path` in one step, so that an interrupted set-up leaves the old file or none."""
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(text, encoding="utf-8")
    draft.chmod(mode)
    draft.replace(path)
