"""One platform for all end-to-end tests that leave it running."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.platform_process import RunningPlatform, running_platform
from tests.postgres import NoPostgreSQL, PostgresServer, postgres_server


@pytest.fixture(scope="package")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    """A running platform that tests share; each uses documents and collections of its own."""
    data: Path = tmp_path_factory.mktemp("platform")
    with running_platform(data) as running:
        yield running


@pytest.fixture
def api(platform: RunningPlatform) -> Iterator[httpx.Client]:
    """A client of the shared platform's gateway."""
    with httpx.Client(base_url=platform.url, timeout=90) as client:
        yield client


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A PostgreSQL of the test's own, which it may kill."""
    try:
        with postgres_server() as running:
            yield running
    except NoPostgreSQL as error:
        pytest.skip(str(error))
