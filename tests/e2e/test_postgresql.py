"""The platform on PostgreSQL, which is restarted and killed under it."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from tests.platform_process import RunningPlatform, running_platform, wait_until
from tests.postgres import PostgresServer

pytestmark = [pytest.mark.slow, pytest.mark.extended, pytest.mark.timeout(180)]

BEFORE, DURING = 20, 20
QUESTION = {"query": "When does gate 7 of the harbour open?", "top_k": 3}


@pytest.fixture
def platform(tmp_path: Path, server: PostgresServer) -> Iterator[RunningPlatform]:
    with running_platform(tmp_path / "data", RAG_DATABASE_URL=server.url) as running:
        yield running


def submit(platform: RunningPlatform, start: int, number: int) -> None:
    documents = [
        {"id": f"d{n}", "text": f"Gate {n} of the harbour opens at hour {n % 24}. " * 8}
        for n in range(start, start + number)
    ]
    reply = httpx.post(f"{platform.url}/v1/documents", json={"documents": documents}, timeout=60)
    assert reply.status_code == 202, reply.text


def collection(platform: RunningPlatform) -> dict[str, Any]:
    reply = httpx.get(f"{platform.url}/v1/collections", timeout=30)
    items = reply.json()["items"] if reply.status_code == 200 else []
    return next((item for item in items if item["name"] == "default"), {"by_status": {}, "chunks": 0})


def wait_for(platform: RunningPlatform, number: int) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        counted = collection(platform)
        return counted if counted["by_status"] == {"indexed": number} else None

    counted: dict[str, Any] = wait_until(found, f"{number} documents are indexed", 90)
    return counted


def index_chunks(platform: RunningPlatform) -> int:
    services = httpx.get(f"{platform.url}/health/detailed", timeout=30).json()["services"]
    return int(services["retriever"]["replicas"][0]["details"]["index"]["chunks"])


def batches(server: PostgresServer) -> list[tuple[str, int]]:
    with psycopg.connect(server.url) as connection:
        return connection.execute("SELECT document_id, count(*) FROM indexed_batches GROUP BY 1").fetchall()


def test_a_killed_service_and_a_killed_database_lose_nothing_and_do_nothing_twice(
    platform: RunningPlatform, server: PostgresServer, tmp_path: Path
) -> None:
    """INVARIANT: dependencies may go away. Readers get a 503 that says when to come back, searches and submissions go
    on, what was accepted waits, and all of it recovers by itself.
    """
    assert not (tmp_path / "data" / "rag.db").exists()
    submit(platform, 0, BEFORE)
    psutil.Process(platform.ready["pids"]["persistence"]).send_signal(signal.SIGKILL)
    wait_for(platform, BEFORE)

    server.kill()
    reply = httpx.get(f"{platform.url}/v1/documents/d7", timeout=30)
    assert (reply.status_code, reply.json()["code"]) == (503, "database_unavailable"), reply.text
    assert int(reply.headers["Retry-After"]) > 0
    submit(platform, BEFORE, DURING)
    reply = httpx.post(f"{platform.url}/v1/search", json=QUESTION, timeout=30)
    assert reply.json()["hits"][0]["document_id"] == "d7", reply.text

    server.start()
    counted = wait_for(platform, BEFORE + DURING)
    assert counted["documents"] == BEFORE + DURING
    assert counted["chunks"] == index_chunks(platform)
    assert sorted(batches(server)) == sorted((f"d{n}", 1) for n in range(BEFORE + DURING))

    server.stop()
    server.start()
    assert httpx.get(f"{platform.url}/v1/documents/d7", timeout=30).json()["status"] == "indexed"
    assert platform.stop() == 0
