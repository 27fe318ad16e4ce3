"""Settings come from arguments, files and the environment, in this order, and wrong ones end in one line."""

from pathlib import Path

import pytest

from shared.settings import PlatformSettings, load


def test_a_secret_may_be_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "password").write_text("s3cret\n")
    monkeypatch.setenv("RAG_NATS_PASSWORD_FILE", str(tmp_path / "password"))
    assert PlatformSettings().nats_password == "s3cret"
    assert "s3cret" not in repr(PlatformSettings())


def test_a_wrong_value_ends_the_process_with_the_name_of_the_setting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAG_PORT", "99999")
    with pytest.raises(SystemExit) as ended:
        load(PlatformSettings)
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert "RAG_PORT" in message
    assert message.count("\n") == 1


def test_a_missing_secret_file_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("RAG_NATS_PASSWORD_FILE", "/does/not/exist")
    with pytest.raises(SystemExit):
        load(PlatformSettings)
    assert "/does/not/exist" in capsys.readouterr().err
