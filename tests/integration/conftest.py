"""Fixtures of tests that run services on real servers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.persistence.settings import PersistenceSettings
from tests.integration.persistence_database import KINDS, settings_of
from tests.scripted_llm import ScriptedLlm, scripted_llm


@pytest.fixture(params=KINDS)
def each_database(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[PersistenceSettings]:
    """Run the test once on each kind of database, which services find as users configure it."""
    with settings_of(request.param, tmp_path) as settings:
        if settings.database_url is not None:
            monkeypatch.setenv("RAG_DATABASE_URL", settings.database_url)
        yield settings


@pytest.fixture
def endpoint() -> Iterator[ScriptedLlm]:
    """A language model's endpoint that says what the test wants."""
    with scripted_llm() as running:
        yield running
