"""Settings come from arguments, files and the environment, in this order, and wrong ones end in one line."""

import json
from pathlib import Path
from typing import Any

import pytest

from shared.quota_settings import QuotaSettings
from shared.quotas import Quota
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


@pytest.mark.parametrize(
    ("tenant", "quota"),
    [
        ("anybody", Quota(10, 1_000)),
        ("acme", Quota(5, 1_000)),
        ("big", Quota(None, 7)),
        ("free", Quota()),
    ],
)
def test_a_tenant_has_the_quota_of_all_but_for_what_is_its_own(
    monkeypatch: pytest.MonkeyPatch, tenant: str, quota: Quota
) -> None:
    own = {"acme": {"documents": 5}, "big": {"documents": 0, "bytes": 7}, "free": {"documents": 0, "bytes": 0}}
    monkeypatch.setenv("RAG_QUOTAS", json.dumps(own))
    monkeypatch.setenv("RAG_QUOTA_DOCUMENTS", "10")
    monkeypatch.setenv("RAG_QUOTA_BYTES", "1000")
    assert load(QuotaSettings).quota_of(tenant) == quota


def test_without_settings_there_is_no_quota() -> None:
    assert not QuotaSettings().quota_of("acme").is_bounded


def test_quotas_may_be_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "quotas.json").write_text('{"acme": {"bytes": 5}}\n')
    monkeypatch.setenv("RAG_QUOTAS_FILE", str(tmp_path / "quotas.json"))
    assert load(QuotaSettings).quota_of("acme") == Quota(None, 5)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("acme=5", "it looks like {"),
        ('{"acme": {"document": 5}}', "acme.document"),
        ('{"acme": {"documents": -5}}', "acme.documents"),
        ('{"Acme!": {"documents": 5}}', "'Acme!' is no tenant"),
    ],
)
def test_quotas_that_cannot_be_read_end_the_process_with_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str, says: str
) -> None:
    monkeypatch.setenv("RAG_QUOTAS", value)
    with pytest.raises(SystemExit):
        load(QuotaSettings)
    message = capsys.readouterr().err
    assert "RAG_QUOTAS" in message
    assert says in message
    assert message.count("\n") == 1
