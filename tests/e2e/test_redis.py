"""The platform with a Redis, which is killed under it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.platform_process import RunningPlatform, running_platform, wait_until
from tests.redis_server import RedisServer, redis_server

pytestmark = [pytest.mark.slow, pytest.mark.extended, pytest.mark.timeout(120)]

DOCUMENT = {"id": "harbour", "text": "The harbour of Lindby opened in 1887. Its lighthouse was built by Greta Holm."}
QUERY = {"query": "when was the harbour opened"}


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def platform(tmp_path: Path, redis: RedisServer) -> Iterator[RunningPlatform]:
    with running_platform(tmp_path / "data", RAG_REDIS_URL=redis.url) as running:
        yield running


def cache_of(platform: RunningPlatform) -> dict[str, Any]:
    health = httpx.get(f"{platform.url}/health/detailed", timeout=10).json()
    (replica,) = health["services"]["retriever"]["replicas"]
    found: dict[str, Any] = replica["details"]["cache"]
    return found


def hits(platform: RunningPlatform) -> list[str]:
    reply = httpx.post(f"{platform.url}/v1/search", json=QUERY, timeout=30)
    assert reply.status_code == 200, reply.text
    return [hit["document_id"] for hit in reply.json()["hits"]]


def test_searches_stay_right_while_redis_comes_and_goes(platform: RunningPlatform, redis: RedisServer) -> None:
    """INVARIANT: Redis gone: slower, still right."""
    with httpx.Client(base_url=platform.url, timeout=60) as http:
        reply = http.post("/v1/documents?wait_s=30", json={"documents": [DOCUMENT]}).json()
        assert reply["documents"][0]["status"] == "indexed"
    assert hits(platform) == hits(platform) == ["harbour"]
    assert cache_of(platform)["state"] == "ok"
    redis.kill()
    assert [hits(platform) for _ in range(3)] == [["harbour"]] * 3
    assert cache_of(platform)["state"] == "away"
    assert httpx.get(f"{platform.url}/ready", timeout=10).status_code == 200
    redis.start()
    wait_until(lambda: hits(platform) == ["harbour"] and cache_of(platform)["state"] == "ok", "Redis is used again")
