"""Which settings are secrets, how they are given, and what keeps their values out of what is told."""

import importlib
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from shared.secrets import HIDDEN, Secrets, is_secret
from shared.settings import PlatformSettings

SERVICES = ("agent", "cli", "embedder", "gateway", "parser", "persistence", "retriever")
# Words that end the name of a setting whose value is nobody's business.
SOUNDS_SECRET = ("_key", "_password", "_secret", "_token", "_dsn")
VALUES = {
    "database_url": "postgresql://rag:planted-7@db/rag",
    "redis_url": "redis://:planted-7@cache:6379/0",
    "sentry_dsn": "http://planted-7@sentry/1",
    "key_pepper": "planted-7 " * 4 + "planted-7",
}


def settings_of(service: str) -> list[type[PlatformSettings]]:
    module = importlib.import_module(f"services.{service}.settings")
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, PlatformSettings) and value.__module__ == module.__name__
    ]


SECRET_SETTINGS = [
    (kind, name)
    for service in SERVICES
    for kind in settings_of(service)
    for name, field in kind.model_fields.items()
    if is_secret(name, field)
]


def test_there_are_secrets_to_look_at() -> None:
    assert {name for _, name in SECRET_SETTINGS} >= {
        "nats_password",
        "database_url",
        "redis_url",
        "llm_api_key",
        "embedding_api_key",
        "next_embedding_api_key",
        "qdrant_api_key",
        "sentry_dsn",
    }


@pytest.mark.parametrize("service", SERVICES)
def test_a_setting_that_sounds_like_a_secret_is_declared_as_one(service: str) -> None:
    undeclared = [
        f"{kind.__name__}.{name}"
        for kind in settings_of(service)
        for name, field in kind.model_fields.items()
        # Where a file lies is no secret; what is in it never becomes a setting.
        if name.endswith(SOUNDS_SECRET) and "Path" not in str(field.annotation) and not is_secret(name, field)
    ]
    assert undeclared == []


@pytest.mark.parametrize(("kind", "name"), SECRET_SETTINGS, ids=lambda part: getattr(part, "__name__", part))
def test_every_secret_may_be_a_file_and_is_never_shown(
    kind: type[PlatformSettings], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = VALUES.get(name, "planted-7")
    (tmp_path / "secret").write_text(given + "\n")
    monkeypatch.setenv(f"RAG_{name.upper()}_FILE", str(tmp_path / "secret"))
    settings = kind()
    value: Any = getattr(settings, name)
    assert (value.get_secret_value() if isinstance(value, SecretStr) else value) == given
    assert "planted-7" not in repr(settings)
    assert "planted-7" not in str(settings)
    # Of an address its password is hidden wherever it is repeated; any other secret is hidden as it was given.
    said = f"it is planted-7, {given}" if "://" in given else f"it is {given}"
    assert Secrets(settings).hidden_in(said).count("planted-7") == 0


def test_an_address_is_told_without_its_password_and_a_password_in_every_spelling_is_hidden() -> None:
    secrets = Secrets(
        PlatformSettings(nats_url="nats://me:p%40ss-word@a:1,nats://b:2", otlp_endpoint="http://u:otlp-pw@c")
    )
    text = secrets.hidden_in("nats://me:p%40ss-word@a:1 p@ss-word http://u:otlp-pw@c nats://b:2")
    assert text == f"nats://me:{HIDDEN}@a:1 {HIDDEN} http://u:{HIDDEN}@c nats://b:2"


def test_what_hides_in_data_is_found_and_the_rest_stays_as_it_is() -> None:
    secrets = Secrets(PlatformSettings(nats_password="planted-7"))
    data = {"a": ["x planted-7", {"planted-7": 1.5}], "b": None, "c": True}
    assert secrets.hidden_in_all(data) == {"a": [f"x {HIDDEN}", {HIDDEN: 1.5}], "b": None, "c": True}


def test_a_value_that_stands_in_ordinary_words_is_left_alone() -> None:
    assert Secrets(PlatformSettings(nats_password="rag")).hidden_in("rag.v1.ingest") == "rag.v1.ingest"
