"""The bench's own clients and servers on real ones: what they count is what there was."""

import argparse
import asyncio
from collections.abc import Iterator
from typing import Any

import nats
import pytest
import uvloop

from tests.load.bench.cached import _listens
from tests.load.bench.http_client import UNEXPECTED
from tests.load.bench.publisher import messages_of, publish
from tests.load.bench.stand import Helper, helper, run_client
from tests.platform_process import wait_until
from tests.servers import NatsServer, nats_server


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    with nats_server() as running:
        yield running


@pytest.fixture(scope="module")
def hello() -> Iterator[Helper]:
    with helper("hello") as running:
        wait_until(lambda: _listens(running.url), "the bare route answers")
        yield running


def published(server: NatsServer, subject: str, count: int) -> dict[str, Any]:
    given = argparse.Namespace(url=server.url, subject=subject, count=count, collection="c", in_flight=64, seed=7)
    return uvloop.run(publish(given, messages_of(given)))


async def stream_of(server: NatsServer, name: str, **options: Any) -> int:
    """Add a stream unless it is there, and return how many messages it holds."""
    client = await nats.connect(server.url)
    try:
        info = await client.jetstream().add_stream(name=name, subjects=[f"{name}.all"], **options)
        return int(info.state.messages)
    finally:
        await client.close()


def test_the_publisher_counts_what_the_broker_has_stored(server: NatsServer) -> None:
    assert asyncio.run(stream_of(server, "room")) == 0
    found = published(server, "room.all", 1_000)
    assert found["refused"] == {}
    assert found["per_second"] == pytest.approx(1_000 / found["seconds"])
    assert asyncio.run(stream_of(server, "room")) == 1_000


def test_the_publisher_tells_what_a_full_stream_refused(server: NatsServer) -> None:
    asyncio.run(stream_of(server, "full", max_msgs=10, discard="new"))
    found = published(server, "full.all", 200)
    ((reason, count),) = found["refused"].items()
    assert count == 190
    assert "maximum messages exceeded" in reason


def test_the_publisher_waits_for_no_stream_that_is_not_there(server: NatsServer) -> None:
    assert sum(published(server, "nowhere.all", 50)["refused"].values()) == 50


def test_callers_count_answers_that_are_as_expected_and_tell_the_others(hello: Helper) -> None:
    def called(path: str, *options: str) -> dict[str, Any]:
        size = ("--clients", "4", "--seconds", "0.5", "--warm-up", "0.1")
        return run_client("http_client", "--url", hello.url, "--path", path, "--method", "GET", *size, *options)

    found = called("/hello", "--expect", "world")
    assert found["errors"] == {}
    assert found["per_second"] == pytest.approx(len(found["latencies_ms"]) / 0.5)
    other = called("/hello", "--expect", "moon")
    assert other["per_second"] == 0
    assert list(other["errors"]) == [UNEXPECTED]
    missing = called("/none")
    assert missing["latencies_ms"] == []
    assert [reason[:3] for reason in missing["errors"]] == ["404"]
