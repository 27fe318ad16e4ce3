"""Counting in a real Redis: replicas count together, and each for itself while Redis is away."""

import asyncio
import time
from collections.abc import Iterator
from itertools import count

import pytest

from services.gateway.throttled_counts import SharedCounts
from tests.redis_server import RedisServer, redis_server
from tests.running import eventually

LIMIT = 4


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


def replica(redis: RedisServer) -> SharedCounts:
    return SharedCounts(redis.url, timeout_seconds=0.5, retry_seconds=0.2)


async def refusals(counts: SharedCounts, key: str, requests: int) -> list[bool]:
    return [(await counts.take("key", key, LIMIT)).refused for _ in range(requests)]


async def test_replicas_count_together(redis: RedisServer) -> None:
    first, second = replica(redis), replica(redis)
    assert await refusals(first, "a", 3) == [False] * 3
    assert await refusals(second, "a", 2) == [False, True]
    assert await refusals(second, "b", 1) == [False]
    await asyncio.gather(first.close(), second.close())


async def test_a_redis_that_goes_away_leaves_the_limits_in_place_and_holds_nobody_up(redis: RedisServer) -> None:
    counts = replica(redis)
    assert await refusals(counts, "a", 2) == [False] * 2
    redis.kill()
    assert await refusals(counts, "a", 3) == [False, False, True]
    redis.start()
    other, tries = replica(redis), count()

    async def shared_again() -> bool:
        key = f"c{next(tries)}"
        await counts.take("key", key, LIMIT)
        return (await other.take("key", key, LIMIT)).remaining == LIMIT - 2

    await eventually(shared_again, "the counts are shared again")
    await asyncio.gather(counts.close(), other.close())


async def test_a_redis_that_hangs_costs_two_time_outs_and_then_nothing(redis: RedisServer) -> None:
    counts = SharedCounts(redis.url, timeout_seconds=0.2, retry_seconds=60)
    await counts.take("key", "a", 1_000)
    redis.freeze()
    started = time.monotonic()
    for _ in range(200):
        assert not (await counts.take("key", "a", 1_000)).refused
    # 200 time-outs would be 40 seconds.
    assert time.monotonic() - started < 10
    redis.resume()
    await counts.close()


async def test_whom_a_replica_refuses_by_itself_costs_no_round_trip(redis: RedisServer) -> None:
    counts = replica(redis)
    await refusals(counts, "a", LIMIT)
    before = await commands(counts)
    assert all(await refusals(counts, "a", 100))
    assert await commands(counts) - before < 10
    await counts.close()


async def commands(counts: SharedCounts) -> int:
    info = await counts._store._backend.get_client().info("stats")  # type: ignore[attr-defined]
    return int(info["total_commands_processed"])
