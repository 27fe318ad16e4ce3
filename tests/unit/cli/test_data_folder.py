"""The folder that everything is stored in."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.cli.data_folder import MIN_FREE_BYTES, DataFolder
from services.cli.errors import CommandError


def folder(root: Path) -> DataFolder:
    data = DataFolder(root / "data")
    data.create()
    return data


def test_a_new_folder_is_private_to_its_owner(tmp_path: Path) -> None:
    data = folder(tmp_path)
    assert stat.S_IMODE(data.root.stat().st_mode) == 0o700


def test_the_password_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    data = folder(tmp_path)
    password = data.password()
    assert len(password) >= 40
    assert data.password() == password
    assert stat.S_IMODE(data.password_file().stat().st_mode) == 0o600


def test_the_secret_of_keys_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    data = folder(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        peppers = set(pool.map(lambda _: data.pepper(), range(32)))
    assert len(peppers) == 1
    assert len(peppers.pop()) >= 40
    assert stat.S_IMODE(data.pepper_file.stat().st_mode) == 0o600
    assert [path.name for path in data.pepper_file.parent.iterdir()] == ["keys.pepper"]


def test_a_second_user_of_the_folder_is_refused_while_the_first_is_there(tmp_path: Path) -> None:
    data = folder(tmp_path)
    refused = pytest.raises(CommandError, match="another `rag up` uses the data folder")
    with data.locked(), refused, data.locked(patience_seconds=0.0):
        raise AssertionError("both hold the lock")
    with data.locked(patience_seconds=0.0) as descriptor:
        assert descriptor > 0


def test_a_folder_of_another_layout_is_left_alone(tmp_path: Path) -> None:
    data = folder(tmp_path)
    (data.root / "layout").write_text("999\n")
    with pytest.raises(CommandError, match="has layout 999, this release knows 1"):
        data.create()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file is in the way")
    with pytest.raises(CommandError, match=r"data cannot be used: .*; name another with --data"):
        folder(tmp_path)


def test_a_disk_that_is_nearly_full_is_refused_with_both_figures(tmp_path: Path) -> None:
    data = folder(tmp_path)
    with pytest.raises(CommandError, match="has 1023 MiB free, 1024 MiB are needed"):
        data.require_space(lambda: MIN_FREE_BYTES - 1)
    data.require_space(lambda: MIN_FREE_BYTES)
