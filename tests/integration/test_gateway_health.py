"""Health answers within a second whatever hangs, on a real broker."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from contracts.health import HealthReply
from services.gateway.parts import EXPECTED_SERVICES
from tests.integration.gateway_stand import Stand, document, running_stand
from tests.integration.test_gateway_operations import answer_health, healthy
from tests.running import eventually
from tests.servers import NatsServer

BOUND_SECONDS = 1.0


@pytest.fixture
async def stand(nats_broker: NatsServer) -> AsyncIterator[Stand]:
    async with running_stand(nats_broker, gateway_sample_seconds=0.1) as running:
        yield running


def embedder(lane: str) -> HealthReply:
    details = {"model": {"status": "ok", "model": "m@1", "dimension": 3, "lanes": lane}}
    return healthy("embedder", instance=f"embedder-{lane}", details=details)


def others(*names: str) -> list[HealthReply]:
    """Return a reply of every service that is not here and not named."""
    return [healthy(name) for name in EXPECTED_SERVICES if name not in ("gateway", *names)]


async def detailed(stand: Stand) -> tuple[dict[str, Any], float]:
    """Return the health and the seconds that it took."""
    started = time.monotonic()
    reply = await stand.http.get("/health/detailed")
    took = time.monotonic() - started
    assert reply.status_code == 200
    found: dict[str, Any] = reply.json()
    return found, took


async def test_a_missing_lane_degrades_the_platform_and_is_named(stand: Stand) -> None:
    await answer_health(stand, *others("embedder"), embedder("bulk"))
    found, took = await detailed(stand)
    assert took < BOUND_SECONDS
    assert (found["status"], found["lanes"]) == ("degraded", {"bulk": 1, "interactive": 0})
    assert found["problems"] == ["no embedder of the interactive lane is ready"]
    short = (await stand.http.get("/health")).json()
    assert (short["status"], short["problems"]) == ("degraded", found["problems"])


async def test_the_parts_behind_the_services_are_named(stand: Stand) -> None:
    llm = {"status": "ok", "configured": True, "model": "m", "host": "llm:8080", "state": "ok"}
    index = {"status": "ok", "engine": "qdrant-edge", "chunks": 3, "model": "bge@1"}
    await answer_health(
        stand,
        *others("embedder", "agent", "retriever"),
        embedder("both"),
        healthy("agent", details={"llm": llm, "answerer": {"status": "ok", "answerer": "m"}}),
        healthy("retriever", details={"index": index, "cache": {"status": "ok", "kind": "memory"}}),
    )
    found, _ = await detailed(stand)
    assert (found["status"], found["problems"]) == ("ok", [])
    # The stand-ins say that they are of release 1.
    assert [notice.split(":")[0] for notice in found["notices"]] == ["processes of several releases run"]
    assert (found["parts"]["llm"], found["parts"]["index"]) == (llm, index)
    assert found["parts"]["embedding"]["model"] == "m@1"
    assert found["parts"]["database"] is None
    assert sum(found["versions"].values()) == 6


async def test_every_consumer_is_told_with_its_backlog(stand: Stand) -> None:
    fetching = {"consumers": {"parser": {"last_fetch_age_seconds": 0.4}}}
    await answer_health(stand, *others("parser"), healthy("parser", details=fetching))
    await stand.http.post("/v1/documents", json={"documents": [document(id=f"d{index}") for index in range(3)]})

    async def parser() -> dict[str, Any] | None:
        found, _ = await detailed(stand)
        [told] = [one for one in found["consumers"] if one["name"] == "parser"]
        return told if told["backlog"] == 3 else None

    told = await eventually(parser, "the backlog is seen")
    assert (told["stream"], told["replicas"], told["last_fetch_age_seconds"]) == ("INGEST", 1, 0.4)


async def test_a_check_that_hangs_is_named_within_a_second(stand: Stand) -> None:
    async def hang() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    stand.service.health.checks["something"] = hang
    await answer_health(stand, *others())
    found, took = await detailed(stand)
    assert took < BOUND_SECONDS
    [gateway] = found["services"]["gateway"]["replicas"]
    assert gateway["details"]["something"] == {"status": "failed", "error": "no answer within 0.5 s"}
    assert found["problems"] == ["no gateway is ready"]


async def test_a_broker_that_hangs_is_named_within_a_second(stand: Stand) -> None:
    await answer_health(stand, *others())
    assert (await detailed(stand))[0]["broker"]["answers"]
    process = stand.broker.process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    try:
        for _ in range(3):
            found, took = await detailed(stand)
            assert took < BOUND_SECONDS
            assert found["problems"] == [
                f"the broker at {stand.broker.url} does not answer: nothing is known of the other parts"
            ]
            assert (found["broker"]["connected"], found["broker"]["answers"]) == (True, False)
            assert found["consumers"][0]["as_of_seconds"] is not None
    finally:
        process.send_signal(signal.SIGCONT)


async def test_what_a_check_fails_with_shows_no_secret(nats_broker: NatsServer) -> None:
    async def broken() -> dict[str, Any]:
        raise OSError("cannot reach nats://me:planted-password@host")

    url = nats_broker.url.replace("nats://", "nats://me:planted-password@")
    async with running_stand(nats_broker, nats_url=url) as stand:
        stand.service.health.checks["something"] = broken
        text = (await stand.http.get("/health/detailed")).text
    assert "planted-password" not in text
    assert "cannot reach nats://me:***@host" in text
