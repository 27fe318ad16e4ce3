"""Every cache keeps the same promises: Redis, and memory where there is none."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from shared.caching.cache import Cache, cache_key
from shared.caching.memory_cache import ENTRY_BYTES, MemoryCache
from shared.caching.redis_cache import RedisCache
from tests.redis_server import RedisServer, redis_server
from tests.running import eventually


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(params=["memory", "redis"])
async def cache(request: pytest.FixtureRequest, redis: RedisServer) -> AsyncIterator[Cache]:
    made: Cache = MemoryCache(1_000_000)
    if request.param == "redis":
        made = RedisCache(redis.url, timeout_seconds=2, retry_seconds=1, failed=lambda: None)
    yield made
    await made.close()


def new_key() -> str:
    return cache_key("test", "acme", secrets.token_hex(8))


async def test_what_is_kept_is_found_byte_for_byte(cache: Cache) -> None:
    key, value = new_key(), bytes(range(256)) * 40
    assert await cache.get(key) is None
    await cache.set(key, value, 60)
    assert await cache.get(key) == value
    await cache.set(key, b"newer", 60)
    assert await cache.get(key) == b"newer"


async def test_a_value_goes_when_its_time_is_over(cache: Cache) -> None:
    key = new_key()
    await cache.set(key, b"short", 0.2)
    await cache.set(new_key(), b"long", 60)
    assert await cache.get(key) == b"short"

    async def gone() -> bool:
        return await cache.get(key) is None

    await eventually(gone, "the value is gone", 5)


async def test_many_may_ask_at_once(cache: Cache) -> None:
    keys = [new_key() for _ in range(200)]
    await asyncio.gather(*(cache.set(key, key.encode(), 60) for key in keys))
    assert await asyncio.gather(*map(cache.get, keys)) == [key.encode() for key in keys]


async def test_it_tells_what_it_is(cache: Cache) -> None:
    await cache.set(new_key(), b"x", 60)
    told = await cache.describe()
    assert told["kind"] in ("memory", "redis")
    assert told.get("state", "ok") == "ok"


async def test_memory_is_bounded_and_lets_go_of_what_was_used_least() -> None:
    cache = MemoryCache(10 * (ENTRY_BYTES + 100))
    for number in range(100):
        await cache.set(str(number), bytes(100), 60)
        await cache.get("0")
    told = await cache.describe()
    assert told["entries"] == 10
    assert told["bytes"] <= 10 * (ENTRY_BYTES + 100)
    assert await cache.get("0") is not None
    assert await cache.get("5") is None
    await cache.set("huge", bytes(1_000_000), 60)
    assert await cache.get("huge") is None


def test_a_key_tells_nothing_and_is_a_tenant_s_own() -> None:
    """INVARIANT: a tenant sees only its own: the same question of two tenants are two entries."""
    key = cache_key("test", "acme", "model", "What is our margin?")
    assert "acme" not in key
    assert "margin" not in key
    assert key != cache_key("test", "other", "model", "What is our margin?")
    assert key != cache_key("test", "acme", "modelWhat is our margin?")
    assert key != cache_key("test", "acmemodel", "", "What is our margin?")
