"""Settings come from arguments, files and the environment, in this order, and wrong ones end in one line."""

from pathlib import Path
from typing import Any

import pytest

from shared.settings import EmbeddingModelSettings, PlatformSettings, load, model_variables


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


LOCAL = "bge-small-en-v1.5-int8"


@pytest.mark.parametrize(
    ("settings", "following"),
    [
        ({}, None),
        ({"next_embedding_model": "n", "next_embedding_dimension": 8, "next_embedding_url": "http://a"}, "n@remote.8"),
        ({"embedding_model": "m", "embedding_url": "http://a", "next_embedding_model": LOCAL}, LOCAL),
        # Whoever forgets to remove it after the switch has said nothing new.
        ({"next_embedding_model": LOCAL}, None),
        (
            {
                "embedding_model": "m",
                "embedding_url": "http://a",
                "next_embedding_model": "m",
                "next_embedding_url": "http://b",
            },
            None,
        ),
    ],
    ids=["none", "remote", "local", "local again", "remote again"],
)
def test_the_next_model_is_another_than_the_configured_one(settings: dict[str, Any], following: str | None) -> None:
    found = EmbeddingModelSettings(**settings).next_embedding
    assert (found and found.fingerprint.startswith(following or "?")) == (following and True)


@pytest.mark.parametrize(
    "settings",
    [{}, {"embedding_model": "m:7b", "embedding_dimension": 24, "embedding_url": "http://a"}],
    ids=["local", "remote"],
)
def test_the_variables_of_a_fingerprint_choose_its_model(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = EmbeddingModelSettings(**settings).embedding_fingerprint
    for variable in model_variables(wanted).replace("…", "http://b").split():
        name, _, value = variable.partition("=")
        monkeypatch.setenv(name, value)
    assert EmbeddingModelSettings().embedding_fingerprint == wanted
    assert model_variables(wanted, "RAG_NEXT_").startswith("RAG_NEXT_EMBEDDING_MODEL=")
