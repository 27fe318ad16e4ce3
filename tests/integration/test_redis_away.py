"""Redis may go away: searches get slower by a bound, and stay right."""

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from zlib import crc32

import numpy as np
import pytest
from opentelemetry.metrics import NoOpMeterProvider
from redis.asyncio import Redis
from structlog.testing import capture_logs

from services.retriever.index import Vector
from services.retriever.query_cache import CachedQueryEmbedding
from services.retriever.settings import RetrieverSettings
from shared.caching.building import build_cache
from shared.caching.cache import cache_key
from shared.caching.memory_cache import MemoryCache
from shared.caching.metrics import CacheMetrics
from shared.caching.redis_cache import FAILURES, RedisCache
from shared.errors import DeadlineExpired, Unavailable
from tests.redis_server import RedisServer, redis_server
from tests.running import eventually

METRICS = CacheMetrics(NoOpMeterProvider().get_meter("test"))
MODEL = "small@1"
TIMEOUT_SECONDS = 0.1
RETRY_SECONDS = 0.3
# What the machine may take beside what Redis costs.
MARGIN_SECONDS = 0.5


class Embedder:
    """Makes a vector of its own for each query, and counts."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __call__(self, query: str, _deadline: float | None) -> Vector:
        self.asked.append(query)
        await asyncio.sleep(0.01)
        return vector_of(query)


def vector_of(query: str) -> Vector:
    numbers = np.random.default_rng(crc32(query.encode())).standard_normal(384).astype(np.float32)
    unit: Vector = numbers / np.float32(np.linalg.norm(numbers))
    return unit


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


def embedding(url: str, embedder: Embedder, model: str = MODEL) -> tuple[CachedQueryEmbedding, RedisCache]:
    cache = RedisCache(url, timeout_seconds=TIMEOUT_SECONDS, retry_seconds=RETRY_SECONDS, failed=METRICS.failed)
    return CachedQueryEmbedding(embedder, cache, model=model, dimension=384, seconds=60, metrics=METRICS), cache


async def test_replicas_share_what_one_of_them_asked(redis: RedisServer) -> None:
    first, second = Embedder(), Embedder()
    one, one_cache = embedding(redis.url, first)
    other, other_cache = embedding(redis.url, second)
    assert (await one("acme", "harbour", None) == vector_of("harbour")).all()
    assert (await other("acme", "harbour", None) == vector_of("harbour")).all()
    assert (first.asked, second.asked) == (["harbour"], [])
    await other("globex", "harbour", None)
    assert second.asked == ["harbour"]
    await one_cache.close()
    await other_cache.close()


async def test_another_model_s_vectors_are_never_found(redis: RedisServer) -> None:
    embedder = Embedder()
    one, one_cache = embedding(redis.url, embedder)
    other, other_cache = embedding(redis.url, embedder, model="large@1")
    await one("acme", "harbour", None)
    await other("acme", "harbour", None)
    assert len(embedder.asked) == 2
    await one_cache.close()
    await other_cache.close()


async def answered(embed: CachedQueryEmbedding, query: str) -> float:
    """Embed a query, check the vector and return how long it took."""
    started = time.monotonic()
    assert (await embed("acme", query, None) == vector_of(query)).all()
    return time.monotonic() - started


Break = Callable[[RedisServer], None]


@pytest.mark.parametrize("broken", [RedisServer.kill, RedisServer.freeze], ids=["killed", "hanging"])
async def test_redis_that_goes_away_costs_a_bound_and_is_used_again_when_it_is_back(
    redis: RedisServer, broken: Break
) -> None:
    """INVARIANT: Redis gone: slower, still right. And it recovers by itself."""
    embedder = Embedder()
    embed, cache = embedding(redis.url, embedder)
    await answered(embed, "before")
    broken(redis)
    took = [await answered(embed, f"while away {number}") for number in range(12)]
    # A look-up and a write may each wait once, until the circuit opens.
    assert max(took) < 2 * TIMEOUT_SECONDS + MARGIN_SECONDS
    assert sum(one > TIMEOUT_SECONDS for one in took) <= FAILURES + 2
    assert (await cache.describe())["state"] == "away"
    if redis.process is None:
        redis.start()
    else:
        redis.resume()

    async def used_again() -> bool:
        await embed("acme", "after", None)
        return bool((await cache.describe())["state"] == "ok")

    await eventually(used_again, "Redis is used again", 10)
    asked = len(embedder.asked)
    await answered(embed, "after")
    assert len(embedder.asked) == asked
    await cache.close()


async def test_redis_that_is_absent_from_the_start_stops_nothing() -> None:
    embedder = Embedder()
    embed, cache = embedding("redis://127.0.0.1:1/0", embedder)
    for number in range(5):
        assert await answered(embed, f"query {number}") < TIMEOUT_SECONDS + MARGIN_SECONDS
    assert (await cache.describe()) == {"kind": "redis", "state": "away"}
    await cache.close()


@contextmanager
def rubbish(answer: bytes) -> Iterator[str]:
    """Answer everything with the same bytes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def talk(connection: socket.socket) -> None:
        with connection:
            try:
                while connection.recv(4096):
                    connection.sendall(answer)
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(timeout=5)


@pytest.mark.parametrize(
    "answer",
    [
        b"\x00\xff garbage \r\n",
        b"$-5\r\n",
        b"$9999999\r\nshort",
        b"-LOADING in memory\r\n",
        b"-OOM too much\r\n",
        b"*3\r\n:1\r\n",
    ],
)
async def test_garbage_from_redis_is_no_answer(answer: bytes) -> None:
    embedder = Embedder()
    with rubbish(answer) as url:
        embed, cache = embedding(url, embedder)
        for number in range(4):
            assert await answered(embed, f"query {number}") < 2 * TIMEOUT_SECONDS + MARGIN_SECONDS
        await cache.close()
    assert len(embedder.asked) == 4


@pytest.mark.parametrize(
    "kept", [b"", b"abc", bytes(1536), np.ones(384, dtype="<f4").tobytes(), np.eye(1, 383, dtype="<f4").tobytes()]
)
async def test_an_entry_that_is_no_unit_vector_is_made_again(kept: bytes) -> None:
    embedder, cache = Embedder(), MemoryCache(1_000_000)
    await cache.set(cache_key("query-vectors", "acme", MODEL, "harbour"), kept, 60)
    embed = CachedQueryEmbedding(embedder, cache, model=MODEL, dimension=384, seconds=60, metrics=METRICS)
    await answered(embed, "harbour")
    await answered(embed, "harbour")
    assert embedder.asked == ["harbour"]


async def test_many_who_ask_the_same_at_once_cost_one_vector() -> None:
    embedder = Embedder()
    embed = CachedQueryEmbedding(
        embedder, MemoryCache(1_000_000), model=MODEL, dimension=384, seconds=60, metrics=METRICS
    )
    await asyncio.gather(*(answered(embed, "harbour") for _ in range(50)))
    assert embedder.asked == ["harbour"]


class Failing:
    """Fails the first time, and counts."""

    def __init__(self, error: Exception) -> None:
        self.error, self.calls = error, 0

    async def __call__(self, query: str, _deadline: float | None) -> Vector:
        self.calls += 1
        first = self.calls == 1
        await asyncio.sleep(0.05)
        if first:
            raise self.error
        return vector_of(query)


def in_memory(embed: Callable[[str, float | None], Awaitable[Vector]]) -> CachedQueryEmbedding:
    return CachedQueryEmbedding(embed, MemoryCache(1_000_000), model=MODEL, dimension=384, seconds=60, metrics=METRICS)


async def test_one_who_had_less_time_is_followed_by_the_next_and_only_one() -> None:
    maker = Failing(DeadlineExpired("too late"))
    embed = in_memory(maker)
    outcomes = await asyncio.gather(*(embed("acme", "harbour", None) for _ in range(20)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(DeadlineExpired) == 1
    assert maker.calls == 2


async def test_a_failure_is_everybody_s_who_waited_for_it() -> None:
    maker = Failing(Unavailable("no embedder"))
    embed = in_memory(maker)
    outcomes = await asyncio.gather(*(embed("acme", "harbour", None) for _ in range(20)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {Unavailable}
    assert maker.calls == 1
    await answered(embed, "harbour")


async def test_who_waits_keeps_to_the_own_deadline() -> None:
    async def slow(query: str, _deadline: float | None) -> Vector:
        await asyncio.sleep(1)
        return vector_of(query)

    embed = in_memory(slow)
    patient = asyncio.create_task(embed("acme", "harbour", None))
    await asyncio.sleep(0)
    started = time.monotonic()
    with pytest.raises(DeadlineExpired):
        await embed("acme", "harbour", time.time() + 0.1)
    assert time.monotonic() - started < 0.6
    await patient


async def test_one_who_goes_away_leaves_the_making_to_the_next() -> None:
    embedder = Embedder()
    embed = in_memory(embedder)
    first = asyncio.create_task(embed("acme", "harbour", None))
    await asyncio.sleep(0)
    second = asyncio.create_task(embed("acme", "harbour", None))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second == vector_of("harbour")).all()
    assert embedder.asked == ["harbour"] * 2


async def test_a_redis_that_only_reads_is_left_alone_with_writes_and_said_to_be_away(redis: RedisServer) -> None:
    embedder, failures = Embedder(), list[int]()
    cache = RedisCache(redis.url, timeout_seconds=1, retry_seconds=30, failed=lambda: failures.append(1))
    embed = CachedQueryEmbedding(embedder, cache, model=MODEL, dimension=384, seconds=60, metrics=METRICS)
    await answered(embed, "kept")
    async with Redis.from_url(redis.url) as admin:
        await admin.config_set("maxmemory", "1")
    with capture_logs() as logs:
        for number in range(10):
            await answered(embed, f"query {number}")
        await answered(embed, "kept")
    assert len(failures) == FAILURES
    assert embedder.asked.count("kept") == 1
    assert (await cache.describe())["state"] == "away"
    assert [entry["event"] for entry in logs] == ["cache_away"]
    await cache.close()


async def test_one_probes_and_the_others_do_not_wait(redis: RedisServer) -> None:
    embedder = Embedder()
    embed, cache = embedding(redis.url, embedder)
    redis.freeze()
    for number in range(4):
        await answered(embed, f"query {number}")
    await asyncio.sleep(RETRY_SECONDS + 0.1)  # The time itself is what is tested.
    took = await asyncio.gather(*(answered(embed, f"at once {number}") for number in range(50)))
    assert sum(one > TIMEOUT_SECONDS for one in took) <= 2
    redis.resume()
    await cache.close()


def test_without_redis_the_cache_is_memory_and_a_wrong_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(build_cache(RetrieverSettings(), METRICS), MemoryCache)
    for wrong, words in (
        ("localhost:6379", "redis://host:6379/0"),
        ("http://host", "redis://host:6379/0"),
        ("redis://", "redis://host:6379/0"),
        ("redis://host/0?socket_timeout=60", "options"),
    ):
        monkeypatch.setenv("RAG_REDIS_URL", wrong)
        with pytest.raises(ValueError, match=words):
            RetrieverSettings()
