"""A backup is whole or none, and so is what is restored from it."""

import gzip
import io
import json
import os
import sqlite3
import stat
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from services.cli import backing_up, restoring
from services.cli.backing_up import INDEX, SQL, Made, make_backup
from services.cli.backup_format import BLOCK_BYTES, HEADER, MANIFEST, Header
from services.cli.data_folder import DataFolder
from services.cli.errors import CommandError
from services.cli.main import main
from services.cli.restoring import check_backup, fill, require_known
from services.cli.settings import LauncherSettings
from shared.version import VERSION

BLOCK = "nats/jetstream/$G/streams/INGEST/msgs/1.blk"
PAGE = "index/shard/page_0.dat"
EMPTY = "nats/jetstream/$G/streams/INGEST/obs"
SPARSE_BYTES = 8 * BLOCK_BYTES


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    """Make a folder like that of a platform that was stopped."""
    folder = DataFolder(tmp_path / "data")
    folder.create()
    folder.pepper()
    folder.password()
    for name, content in {
        BLOCK: os.urandom(BLOCK_BYTES + 17),
        PAGE: b"points",
        "index-models.json": b"{}",
        "logs/parser.log": b"a line",
        "scrape/rag.json": b"[]",
        "nats/nats.conf": b"passwords",
        "nats/nats.pid": b"17",
    }.items():
        path = folder.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    os.truncate(folder.root / PAGE, SPARSE_BYTES)
    (folder.root / EMPTY).mkdir()
    with closing(sqlite3.connect(folder.root / "rag.db")) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE documents (id TEXT)")
        database.execute("INSERT INTO documents VALUES ('tides')")
        database.commit()
    return folder


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "backups").mkdir()
    return tmp_path / "backups" / "rag.backup"


def backed_up(file: Path, data: DataFolder, **settings: Any) -> Made:
    return make_backup(file, data, LauncherSettings(**settings))


def names_below(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def rows(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as opened:
        return [name for (name,) in opened.execute("SELECT id FROM documents ORDER BY id")]


def test_what_is_restored_is_what_was_backed_up(data: DataFolder, file: Path, tmp_path: Path) -> None:
    made = backed_up(file, data)
    assert made.header.elsewhere == []
    other = DataFolder(tmp_path / "elsewhere" / "data")
    found = fill(file, other)
    assert (found.header, found.manifest) == (made.header, made.manifest)
    left_out = {"logs/parser.log", "scrape", "scrape/rag.json", "nats/nats.conf", "nats/nats.pid", "logs"}
    assert names_below(other.root) == names_below(data.root) - left_out
    same = (BLOCK, PAGE, "secrets/keys.pepper", "layout")
    assert [(other.root / name).read_bytes() for name in same] == [(data.root / name).read_bytes() for name in same]
    assert rows(other.root / "rag.db") == ["tides"]


def test_backups_and_what_is_restored_are_for_their_owner_alone(data: DataFolder, file: Path, tmp_path: Path) -> None:
    backed_up(file, data)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    other = DataFolder(tmp_path / "other")
    fill(file, other)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (other.root, *other.root.rglob("*"))}
    assert modes == {0o700, 0o600}


def test_pages_that_are_empty_take_no_room_before_and_after(data: DataFolder, file: Path, tmp_path: Path) -> None:
    made = backed_up(file, data)
    assert made.file_bytes < 4 * BLOCK_BYTES
    other = DataFolder(tmp_path / "other")
    fill(file, other)
    page = (other.root / PAGE).stat()
    assert page.st_size == SPARSE_BYTES
    assert page.st_blocks * 512 <= 2 * BLOCK_BYTES


def test_a_key_that_is_made_meanwhile_is_in_it_or_not_and_the_database_is_sound(
    data: DataFolder, file: Path, tmp_path: Path
) -> None:
    """What is committed is in the backup, though it stands in the write-ahead log alone; what is not is not."""
    with closing(sqlite3.connect(data.root / "rag.db")) as writer:
        writer.execute("PRAGMA wal_autocheckpoint=0")
        writer.execute("INSERT INTO documents VALUES ('committed')")
        writer.commit()
        writer.execute("INSERT INTO documents VALUES ('open')")
        assert (data.root / "rag.db-wal").stat().st_size > 0
        backed_up(file, data)
    other = DataFolder(tmp_path / "other")
    fill(file, other)
    assert rows(other.root / "rag.db") == ["committed", "tides"]
    assert names_below(other.root).isdisjoint({"rag.db-shm"})


def test_stores_outside_of_the_folder_are_named(data: DataFolder, tmp_path: Path) -> None:
    elsewhere = {"database_url": "postgresql://sql/rag", "qdrant_url": "http://qdrant:6333"}
    assert backed_up(tmp_path / "one", data, **elsewhere).header.elsewhere == [SQL, INDEX]
    (data.root / "rag.db").unlink()
    (data.root / "index-models.json").unlink()
    assert backed_up(tmp_path / "two", data).header.elsewhere == [SQL, INDEX]


def test_no_backup_of_a_platform_that_runs(data: DataFolder, file: Path) -> None:
    with data.locked(), pytest.raises(CommandError, match="another `rag up` uses the data folder"):
        backed_up(file, data)
    assert list(file.parent.iterdir()) == []


def test_a_backup_that_fails_leaves_nothing(data: DataFolder, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_source: Path, _target: str) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backing_up, "_copy", full)
    with pytest.raises(OSError, match="No space left"):
        backed_up(file, data)
    assert list(file.parent.iterdir()) == []


def test_a_damaged_database_is_not_backed_up(data: DataFolder, file: Path) -> None:
    database = data.root / "rag.db"
    database.write_bytes(database.read_bytes()[:4096] + b"\xff" * 4096)
    with pytest.raises(CommandError, match=r"the database .*rag\.db is damaged"):
        backed_up(file, data)
    assert list(file.parent.iterdir()) == []


def test_what_would_be_missing_is_refused(data: DataFolder, file: Path, tmp_path: Path) -> None:
    (tmp_path / "large-disk").mkdir()
    (data.root / "index-2").symlink_to(tmp_path / "large-disk")
    with pytest.raises(CommandError, match="index-2 is neither a file nor a folder, and would be missing"):
        backed_up(file, data)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("backups/old", "exists already"),
        ("data/rag.backup", "lies in the data folder itself"),
        ("nowhere/rag.backup", "there is no folder"),
    ],
)
def test_a_place_that_will_not_do_is_named(data: DataFolder, file: Path, place: str, message: str) -> None:
    (file.parent / "old").write_text("kept")
    with pytest.raises(CommandError, match=message):
        backed_up(data.root.parent / place, data)
    assert (file.parent / "old").read_text() == "kept"


def test_a_folder_of_something_else_is_not_backed_up(file: Path, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="is no data folder of a platform"):
        backed_up(file, DataFolder(tmp_path / "home"))


@pytest.mark.parametrize("content", ["a file", "restoring"])
def test_nothing_is_restored_over_something(data: DataFolder, file: Path, tmp_path: Path, content: str) -> None:
    backed_up(file, data)
    other = tmp_path / "other"
    other.mkdir()
    (other / content).write_text("kept")
    with pytest.raises(CommandError, match="is not empty"):
        fill(file, DataFolder(other))
    assert names_below(other) == {content}


def test_a_new_file_system_counts_as_empty(data: DataFolder, file: Path, tmp_path: Path) -> None:
    backed_up(file, data)
    (tmp_path / "disk" / "lost+found").mkdir(parents=True)
    fill(file, DataFolder(tmp_path / "disk"))
    assert {"rag.db", "lost+found"} <= names_below(tmp_path / "disk")


def cut(content: bytes) -> bytes:
    return content[: len(content) * 2 // 3]


def flipped(content: bytes) -> bytes:
    """Change a byte in the middle of what did not pack: gzip would find out at its very end only."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0x10]) + content[middle + 1 :]


def repacked(change: Callable[[str, bytes], bytes | None]) -> Callable[[bytes], bytes]:
    """Return what writes the archive anew with files changed, or left out where it says None."""

    def changed(content: bytes) -> bytes:
        target = io.BytesIO()
        with (
            tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as old,
            tarfile.open(fileobj=target, mode="w:gz", compresslevel=1) as new,
        ):
            for member in old:
                source = old.extractfile(member)
                text = change(member.name, source.read() if source else b"")
                if text is not None:
                    member.size = len(text) if member.isfile() else 0
                    new.addfile(member, io.BytesIO(text))
        return target.getvalue()

    return changed


def without(name: str) -> Callable[[bytes], bytes]:
    return repacked(lambda found, text: None if found == name else text)


def with_other(name: str, other: bytes) -> Callable[[bytes], bytes]:
    return repacked(lambda found, text: other if found == name else text)


def escaping(content: bytes) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as new, tarfile.open(fileobj=io.BytesIO(content)) as old:
        header = old.next()
        assert header is not None
        new.addfile(header, old.extractfile(header))
        outside = tarfile.TarInfo("data/../../escaped")
        outside.size = 1
        new.addfile(outside, io.BytesIO(b"x"))
    return target.getvalue()


def linking(content: bytes) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as new, tarfile.open(fileobj=io.BytesIO(content)) as old:
        header = old.next()
        assert header is not None
        new.addfile(header, old.extractfile(header))
        link = tarfile.TarInfo("data/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        new.addfile(link)
    return target.getvalue()


def of_header(**fields: object) -> Callable[[bytes], bytes]:
    def change(found: str, text: bytes) -> bytes:
        return json.dumps({**json.loads(text), **fields}).encode() if found == HEADER else text

    return repacked(change)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "cut off, damaged, or no backup"),
        (flipped, "damaged"),
        (lambda _: b"", "cut off, damaged, or no backup"),
        (lambda _: b"not even an archive", "cut off, damaged, or no backup"),
        (lambda _: gzip.compress(b"an archive of nothing"), "cut off, damaged, or no backup"),
        (without(HEADER), "is no backup of this platform"),
        (without(MANIFEST), "has no manifest: its making was broken off"),
        (without(f"data/{BLOCK}"), r"damaged: data/nats/.*1\.blk is not what its manifest says"),
        (with_other(f"data/{PAGE}", b"other"), r"damaged: data/index/shard/page_0\.dat is not"),
        (with_other(MANIFEST, b"{}"), "damaged: BACKUP.json is not"),
        (with_other(MANIFEST, b"[1"), "cut off, damaged, or no backup"),
        (escaping, "lies outside of a data folder"),
        (linking, "neither a file nor a folder"),
        (of_header(format=2), "has format 2, this release reads 1; use release"),
        (of_header(version="99.0.0"), "was made by release 99.0.0, this is"),
        (of_header(version="new"), "cut off, damaged, or no backup"),
        (of_header(layout="2"), "has layout 2, this release knows 1"),
    ],
)
def test_what_is_not_a_whole_backup_is_named_and_leaves_the_folder_empty(
    data: DataFolder, file: Path, tmp_path: Path, damage: Callable[[bytes], bytes], message: str
) -> None:
    """INVARIANT: a backup that is not whole never becomes a platform that looks as if it were."""
    backed_up(file, data)
    file.write_bytes(damage(file.read_bytes()))
    other = DataFolder(tmp_path / "other")
    with pytest.raises(CommandError, match=message) as refused:
        fill(file, other)
    assert str(file) in str(refused.value)
    assert names_below(tmp_path / "other") == set()
    assert not (tmp_path / "escaped").exists()
    with pytest.raises(CommandError, match=message):
        check_backup(file, as_json=False)


def test_a_backup_of_an_earlier_release_is_restored(file: Path) -> None:
    require_known(Header(version="0.0.9", layout="1", made_at="", elsewhere=[]), file)
    require_known(Header(version=VERSION, layout="1", made_at="", elsewhere=[]), file)


def test_a_restore_that_was_killed_is_not_started_as_a_platform(
    data: DataFolder, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backed_up(file, data)
    other = DataFolder(tmp_path / "other")

    class Killed(BaseException):
        pass

    def killed(_folder: DataFolder) -> None:
        raise Killed

    # What a kill leaves: nobody removes anything.
    monkeypatch.setattr(DataFolder, "end_restoring", killed)
    with pytest.raises(Killed):
        fill(file, other)
    with pytest.raises(CommandError, match="holds a part of a backup"):
        other.create()
    with pytest.raises(CommandError, match="holds a part of a backup"):
        backed_up(tmp_path / "again", other)


def test_the_commands_say_what_they_did(
    data: DataFolder, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["backup", str(file), "--data", str(data.root)]) == 0
    assert f"to {file}" in capsys.readouterr().out
    assert main(["backup", str(file), "--data", str(data.root)]) == 1
    assert capsys.readouterr().err == f"rag: {file} exists already; name a new file\n"
    assert main(["restore", str(file), "--check"]) == 0
    assert capsys.readouterr().out.startswith(f"{file} is whole: ")
    assert main(["restore", str(file), "--data", str(tmp_path / "new"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["version"], told["elsewhere"], told["data"]) == (VERSION, [], str(tmp_path / "new"))
    assert told["files"] == len([path for path in (tmp_path / "new").rglob("*") if path.is_file()]) - len(["lock"])
    assert main(["restore", str(tmp_path / "none"), "--data", str(tmp_path / "newer")]) == 1
    assert capsys.readouterr().err == f"rag: No such file or directory: {tmp_path / 'none'}\n"
    assert restoring.NOT_OURS.isdisjoint({"rag.db", "nats", "index"})
