"""What a crash leaves behind: everything that was accepted."""

import signal
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest

from tests.platform_process import RunningPlatform, running_platform, start_platform, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.extended, pytest.mark.timeout(240)]

DOCUMENTS = 60


def collection_of(platform: RunningPlatform) -> dict[str, Any]:
    reply = httpx.get(f"{platform.url}/v1/collections", timeout=30)
    # While persistence starts again its readers get a 503, which is right, and try again.
    items = reply.json()["items"] if reply.status_code == 200 else []
    return next((item for item in items if item["name"] == "crash"), {"by_status": {}, "chunks": 0})


def index_chunks(platform: RunningPlatform) -> int:
    services = httpx.get(f"{platform.url}/health/detailed", timeout=30).json()["services"]
    return int(services["retriever"]["replicas"][0]["details"]["index"]["chunks"])


def submit(platform: RunningPlatform, prefix: str = "d") -> None:
    for start in range(0, DOCUMENTS, 20):
        texts = {n: f"Gate {n} of the harbour opens at hour {n % 24}. " * 8 for n in range(start, start + 20)}
        documents = [{"id": f"{prefix}{n}", "collection": "crash", "text": text} for n, text in texts.items()]
        reply = httpx.post(f"{platform.url}/v1/documents", json={"documents": documents}, timeout=60)
        assert reply.status_code == 202


@pytest.fixture(scope="module")
def survivor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningPlatform, dict[str, Any]]]:
    """The third platform on the data of two that were killed, and what the second one had before."""
    data = tmp_path_factory.mktemp("crash") / "data"
    platform = start_platform(data)
    submit(platform)
    platform.kill_everything()
    with running_platform(data) as again:
        wait_until(
            lambda: collection_of(again)["by_status"].get("indexed") == DOCUMENTS, "all documents are indexed", 60
        )
        assert collection_of(again)["chunks"] == index_chunks(again)
        before = collection_of(again)
        again.kill_everything()
        with running_platform(data) as last:
            yield last, before


def test_what_was_accepted_survives_the_death_of_every_process(
    survivor: tuple[RunningPlatform, dict[str, Any]],
) -> None:
    """INVARIANT: accepted is durable. Acknowledging to the caller before the broker has stored it would break it."""
    last, before = survivor
    assert before["by_status"]["indexed"] == DOCUMENTS
    assert collection_of(last) == before
    assert index_chunks(last) == before["chunks"]


def test_a_service_that_dies_is_started_again_and_its_work_goes_on(
    survivor: tuple[RunningPlatform, dict[str, Any]],
) -> None:
    """Comes last, for it stops the platform."""
    platform, _ = survivor
    for service in ("parser", "embedder", "retriever", "persistence"):
        psutil.Process(platform.ready["pids"][service]).send_signal(signal.SIGKILL)
    submit(platform, "more")
    most = 2 * DOCUMENTS
    wait_until(lambda: collection_of(platform)["by_status"].get("indexed") == most, "all documents are indexed", 90)
    assert collection_of(platform)["chunks"] == index_chunks(platform)
    assert platform.stop() == 0
