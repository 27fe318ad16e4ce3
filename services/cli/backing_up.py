"""Makes a backup of a data folder while nothing runs on it, so that broker, database and index are of one moment."""

import os
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, Final

from services.cli.backup_format import Header, Manifest, Writer, described, writing
from services.cli.data_folder import LAYOUT, DataFolder
from services.cli.errors import CommandError
from services.cli.settings import LauncherSettings, load
from services.cli.terminal import print_json, show
from shared.version import VERSION

SQL: Final = "SQL database (RAG_DATABASE_URL)"
INDEX: Final = "vector index (RAG_QDRANT_URL)"
DATABASE: Final = "rag.db"
INDEXES: Final = "index-models.json"
# Made anew by every start, or of no use on another machine.
LEFT_OUT: Final = frozenset({"lock", "logs", "scrape", "nats/nats.conf", "nats/nats.pid"})
# What SQLite says of a database in which it finds nothing wrong.
SOUND: Final = "ok"
_SQLITE: Final = b"SQLite format 3\0"
_BESIDE_SQLITE: Final = ("-wal", "-shm", "-journal")


@dataclass(frozen=True, slots=True)
class Made:
    """What was written: the backup's header and manifest, and its own size in bytes."""

    header: Header
    manifest: Manifest
    file_bytes: int


def back_up(file: Path, data: Path | None, *, as_json: bool) -> int:
    """Write a backup and say what is in it; returns the exit code, CommandError says why there is none."""
    settings = load(LauncherSettings)
    file = file.absolute()
    made = make_backup(file, DataFolder((data or settings.data_dir).absolute()), settings)
    if as_json:
        print_json(_fields(file, made))
    else:
        _print(file, made)
    return 0


def make_backup(file: Path, data: DataFolder, settings: LauncherSettings) -> Made:
    """Write everything that a stopped platform stores into a new file, whole or not at all."""
    _check_places(file, data)
    with data.locked(), _draft_of(file) as draft:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        header = Header(version=VERSION, layout=LAYOUT, made_at=now, elsewhere=_elsewhere(data, settings))
        with draft.open("wb") as stream:
            with writing(stream, header) as writer:
                _add(writer, data.root, file.parent)
            stream.flush()
            os.fsync(stream.fileno())
        return Made(header, writer.manifest, draft.stat().st_size)


def _check_places(file: Path, data: DataFolder) -> None:
    if not data.layout_file.is_file():
        raise CommandError(f"{data.root} is no data folder of a platform; name it with --data")
    data.check_usable()
    if file.exists():
        raise CommandError(f"{file} exists already; name a new file")
    if file.resolve().is_relative_to(data.root.resolve()):
        raise CommandError(f"{file} lies in the data folder itself; name a file on another disk")
    if not file.parent.is_dir():
        raise CommandError(f"there is no folder {file.parent}; make it, or name another file")


@contextmanager
def _draft_of(file: Path) -> Iterator[Path]:
    """Yield a file for its owner alone that gets its name when the block has ended well, and is removed otherwise."""
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", suffix=".partial", dir=file.parent)
    os.close(descriptor)
    draft = Path(name)
    try:
        yield draft
        draft.rename(file)
    finally:
        draft.unlink(missing_ok=True)


def _elsewhere(data: DataFolder, settings: LauncherSettings) -> list[str]:
    """Return what the platform keeps outside of the data folder."""
    sql = settings.database_url is not None or not (data.root / DATABASE).exists()
    index = settings.has_qdrant_server or not (data.root / INDEXES).exists()
    return [name for name, away in ((SQL, sql), (INDEX, index)) if away]


def _add(writer: Writer, root: Path, scratch: Path) -> None:
    for path in _below(root, root):
        name = PurePosixPath(path.relative_to(root))
        if path.is_dir():
            writer.folder(name)
        elif path.parent == root and _is_sqlite(path):
            with _copy_of_database(path, scratch) as copy:
                writer.file(name, copy)
        else:
            writer.file(name, path)


def _below(folder: Path, root: Path) -> Iterator[Path]:
    """Yield what a folder holds, each folder before what is in it."""
    for path in sorted(folder.iterdir()):
        if str(path.relative_to(root)) in LEFT_OUT or _belongs_to_a_database(path, root):
            continue
        kind = path.lstat().st_mode
        if not stat.S_ISDIR(kind) and not stat.S_ISREG(kind):
            raise CommandError(
                f"{path} is neither a file nor a folder, and would be missing in the backup; "
                "put in its place what it stands for"
            )
        yield path
        if stat.S_ISDIR(kind):
            yield from _below(path, root)


def _belongs_to_a_database(path: Path, root: Path) -> bool:
    return path.parent == root and path.name.endswith(tuple(f".db{suffix}" for suffix in _BESIDE_SQLITE))


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(_SQLITE)) == _SQLITE


@contextmanager
def _copy_of_database(path: Path, scratch: Path) -> Iterator[Path]:
    """Yield a sound copy, also while `rag keys --data` writes into the database; removed after the block.

    CommandError when the database is damaged: a backup of it would only look like one.
    """
    with tempfile.NamedTemporaryFile(prefix=f".{path.name}.", suffix=".partial", dir=scratch) as place:
        try:
            found = _copy(path, place.name)
        except sqlite3.Error as error:
            found = str(error)
        if found != SOUND:
            raise CommandError(f"the database {path} is damaged ({found}); restore the last good backup")
        yield Path(place.name)


def _copy(source: Path, target: str) -> str:
    """Copy a database and return what is wrong with it, SOUND for nothing."""
    with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(target)) as copy:
        original.backup(copy)
        return str(copy.execute("PRAGMA quick_check(1)").fetchone()[0])


def _fields(file: Path, made: Made) -> dict[str, Any]:
    return {
        "file": str(file),
        "bytes": made.file_bytes,
        **described(made.header, made.manifest),
    }


def _print(file: Path, made: Made) -> None:
    show(f"Backed up {len(made.manifest.data)} files to {file} ({made.file_bytes / 1e6:.1f} MB).", soft_wrap=True)
    for name in made.header.elsewhere:
        show(f"Not in it: the {name}. Save it now, before the platform runs again.", soft_wrap=True)
    show("It holds texts, passwords and the secret of the keys: keep it as safe as the data folder.", soft_wrap=True)
