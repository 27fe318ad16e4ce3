"""Puts a backup into an empty data folder, whole or not at all, or only reads it to see that it is whole."""

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.cli.backup_format import (
    BLOCK_BYTES,
    PRIVATE_FILE,
    PRIVATE_FOLDER,
    Folder,
    Header,
    Manifest,
    Reader,
    described,
    reading,
)
from services.cli.data_folder import LAYOUT, DataFolder
from services.cli.errors import CommandError
from services.cli.settings import LauncherSettings, load
from services.cli.terminal import one_line, print_json, show
from shared.version import VERSION

# What a new file system has of its own.
NOT_OURS: Final = frozenset({"lost+found"})
_ZEROS: Final = bytes(BLOCK_BYTES)


@dataclass(frozen=True, slots=True)
class Found:
    """What a whole backup holds."""

    header: Header
    manifest: Manifest


def restore_backup(file: Path, data: Path | None, *, as_json: bool) -> int:
    """Fill a data folder and say with what; returns the exit code, CommandError says why nothing was restored."""
    folder = DataFolder((data or load(LauncherSettings).data_dir).absolute())
    found = fill(file, folder)
    if as_json:
        print_json({"file": str(file), **described(found.header, found.manifest), "data": str(folder.root)})
        return 0
    show(
        f"Restored {len(found.manifest.data)} files of {one_line(found.header.made_at)} into {folder.root}.",
        soft_wrap=True,
    )
    for name in found.header.elsewhere:
        show(f"Not in it: the {one_line(name)}. Restore it to the same moment first.", soft_wrap=True)
    show(f"Next: `rag up --data {folder.root}`, then `rag doctor --reconcile`.", soft_wrap=True)
    show("What was sent or deleted after that moment has to be sent and deleted again.", soft_wrap=True)
    return 0


def check_backup(file: Path, *, as_json: bool) -> int:
    """Read a backup to its end and say what it holds; returns the exit code, CommandError says what is wrong."""
    with reading(file) as backup:
        require_known(backup.header, file)
        for _ in backup.members():
            pass
        found = Found(backup.header, backup.manifest)
    if as_json:
        print_json({"file": str(file), **described(found.header, found.manifest)})
    else:
        made = f"of {one_line(found.header.made_at)}, release {one_line(found.header.version)}"
        show(f"{file} is whole: {len(found.manifest.data)} files, {made}.", soft_wrap=True)
    return 0


def fill(file: Path, folder: DataFolder) -> Found:
    """Write what a backup holds into an empty folder; CommandError leaves the folder empty."""
    with reading(file) as backup:
        require_known(backup.header, file)
        _make_empty_folder(folder)
        folder.begin_restoring()
        try:
            with folder.locked():
                _write(backup, folder.root)
        except BaseException:
            _empty(folder)
            raise
        folder.end_restoring()
        return Found(backup.header, backup.manifest)


def require_known(header: Header, file: Path) -> None:
    """Raise CommandError for a backup that this release can't run on: of a later release, or of another layout."""
    if _numbers(header.version) > _numbers(VERSION):
        raise CommandError(
            f"{file} was made by release {one_line(header.version)}, this is {VERSION}, which cannot read what a later"
            " one stores; restore it with that release"
        )
    if header.layout != LAYOUT:
        raise CommandError(
            f"{file} has layout {one_line(header.layout)}, this release knows {LAYOUT}; restore it with release"
            f" {one_line(header.version)}"
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _make_empty_folder(folder: DataFolder) -> None:
    folder.root.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    if any(path.name not in NOT_OURS for path in folder.root.iterdir()):
        raise CommandError(
            f"the data folder {folder.root} is not empty; a backup is restored into an empty one: move it away, or name"
            " another with --data"
        )


def _write(backup: Reader, root: Path) -> None:
    for member in backup.members():
        target = root / member.name
        if isinstance(member, Folder):
            target.mkdir(mode=PRIVATE_FOLDER)
        else:
            _write_file(target, member.blocks)


def _write_file(target: Path, blocks: Iterable[bytes]) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    with os.fdopen(descriptor, "wb") as stream:
        for block in blocks:
            # The index keeps most of its pages empty; they took no room before and shall take none now.
            if block == _ZEROS[: len(block)]:
                stream.seek(len(block), os.SEEK_CUR)
            else:
                stream.write(block)
        stream.truncate()
        # The marker goes after everything else has reached the disk.
        os.fsync(stream.fileno())


def _empty(folder: DataFolder) -> None:
    """Remove what was written; the marker goes last, so that what is left of a removal is never taken for data."""
    for path in folder.root.iterdir():
        if path.name in NOT_OURS or path == folder.restoring_file:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    folder.end_restoring()
