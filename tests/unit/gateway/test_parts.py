"""What the replies of all processes add up to."""

import time
from typing import Any

import pytest

from contracts.health import HealthReply
from contracts.topology import CONSUMERS
from services.gateway.health_schemas import BrokerHealth, ServiceHealth
from services.gateway.parts import (
    EXPECTED_SERVICES,
    ConsumerSample,
    by_service,
    consumer_health,
    notices_of,
    parts_of,
    platform_parts,
    problems_of,
    ready_lanes,
    versions_of,
)

BROKER = BrokerHealth(url="nats://b:1", server="2.15.1", connected=True, answers=True)


def reply(service: str, instance: str = "1", **fields: Any) -> HealthReply:
    values = {"version": "1", "ready": True, "live": True, **fields}
    return HealthReply.model_validate({"service": service, "instance": instance, **values})


def lane(name: str, **fields: Any) -> HealthReply:
    return reply("embedder", name, details={"model": {"status": "ok", "model": "m@1", "lanes": name}}, **fields)


def platform(*replies: HealthReply, without: str = "") -> dict[str, ServiceHealth]:
    """Return a platform in which all is well but what is given."""
    given = {one.service for one in replies} | {without}
    return by_service([*replies, *(reply(name) for name in EXPECTED_SERVICES if name not in given)])


def test_nothing_is_wrong_where_every_part_is_ready() -> None:
    assert problems_of(BROKER, platform(lane("bulk"), lane("interactive"))) == []
    assert problems_of(BROKER, platform(lane("both"))) == []
    # One of a release that does not name its lanes has both.
    assert problems_of(BROKER, platform(reply("embedder"))) == []


@pytest.mark.parametrize(("there", "missing"), [("bulk", "interactive"), ("interactive", "bulk")])
def test_a_lane_without_an_embedder_is_a_problem_though_embedders_are_ready(there: str, missing: str) -> None:
    """Counting embedders said that all was well while every question waited for a lane that nobody worked in."""
    for services in (platform(lane(there)), platform(lane(there), lane(missing, ready=False))):
        assert problems_of(BROKER, services) == [f"no embedder of the {missing} lane is ready"]
        assert ready_lanes(services) == {there: 1, missing: 0}


def test_both_lanes_are_waited_for() -> None:
    assert parts_of(lane("bulk")) == {"embedder", "bulk"}
    assert parts_of(lane("both")) == {"embedder", "bulk", "interactive"}
    assert parts_of(reply("parser")) == {"parser"}


def test_what_is_wrong_is_said_in_words() -> None:
    stuck = reply("retriever", "retriever-2", live=False, ready=False)
    services = platform(reply("retriever"), stuck, reply("agent", ready=False), without="parser")
    assert problems_of(BROKER, services) == [
        "no parser answers",
        "retriever does not do its work any more: retriever-2",
        "no agent is ready",
    ]


def test_a_broker_that_is_gone_or_silent_explains_all_the_rest() -> None:
    nobody = by_service([reply("gateway")])
    silent = BROKER.model_copy(update={"answers": False})
    gone = silent.model_copy(update={"connected": False})
    assert [len(problems_of(one, nobody)) for one in (silent, gone)] == [1, 1]
    assert "does not answer" in problems_of(silent, nobody)[0]
    assert "no connection" in problems_of(gone, nobody)[0]


def test_of_several_replicas_the_one_that_is_worst_off_is_told() -> None:
    well = reply("persistence", "1", details={"database": {"status": "ok", "chunks": 1}})
    ill = reply("persistence", "2", details={"database": {"status": "failed", "error": "no answer within 0.5 s"}})
    for replies in ((well, ill), (ill, well)):
        told = platform_parts(platform(*replies)).database
        assert told == {"status": "failed", "error": "no answer within 0.5 s"}
    assert platform_parts(platform(well)).llm is None


def test_what_costs_only_speed_or_a_feature_is_a_notice_and_no_problem() -> None:
    services = platform(
        reply("retriever", details={"cache": {"status": "ok", "kind": "redis", "state": "away"}}),
        reply("agent", details={"llm": {"status": "ok", "host": "llm:80", "state": "away"}}, version="2"),
        reply("embedder"),
    )
    assert problems_of(BROKER, services) == []
    assert [notice.split(":")[0] for notice in notices_of(services)] == [
        "the cache is away",
        "the language model at llm",
        "processes of several releases run",
    ]
    assert versions_of(services) == {"1": 5, "2": 1}
    assert notices_of(platform()) == []


def test_every_consumer_is_told_with_what_the_broker_said_last_and_who_fetched_last() -> None:
    fetching = {"consumers": {"parser": {"last_fetch_age_seconds": 3.0}}}
    services = platform(reply("parser", "1", details=fetching), reply("parser", "2", details=fetching))
    sample = ConsumerSample(backlog=7, in_flight=2, redelivered=1, at=time.monotonic() - 10)
    found = {one.name: one for one in consumer_health(services, {"parser": sample})}
    assert list(found) == [consumer.name for consumer in CONSUMERS]
    parser = found["parser"]
    assert (parser.backlog, parser.in_flight, parser.redelivered, parser.replicas) == (7, 2, 1, 2)
    assert parser.last_fetch_age_seconds == 3.0
    assert parser.as_of_seconds == pytest.approx(10, abs=2)
    assert (found["embedder"].backlog, found["embedder"].replicas) == (None, 0)
