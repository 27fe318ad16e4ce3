"""A process loads the library of an adapter only where its settings name what the adapter is for."""

import subprocess
import sys

import pytest

from tests.platform_process import PROJECT

# The heavy ones: each takes longer to load, and more memory, than a service's own modules.
ADAPTERS = {
    "agent": ("openai", "purgatory", "redis"),
    "embedder": ("openai",),
    "persistence": ("psycopg",),
    "retriever": ("qdrant_client", "redis"),
}


@pytest.mark.parametrize(("service", "libraries"), ADAPTERS.items())
def test_a_service_that_starts_loads_no_library_that_it_may_not_need(service: str, libraries: tuple[str, ...]) -> None:
    code = f"import sys, services.{service}.app; print(*(name for name in {libraries!r} if name in sys.modules))"

    found = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, text=True, capture_output=True, check=True)

    assert found.stdout.split() == []
