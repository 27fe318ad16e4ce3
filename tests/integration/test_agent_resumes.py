"""An agent that dies in the middle, and the one that goes on."""

import asyncio
import json
import signal
import subprocess
from contextlib import AbstractContextManager

import httpx
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from opentelemetry.metrics import NoOpMeterProvider

from contracts import topology
from services.agent.agent_mode.loop import Loop
from services.agent.agent_mode.nats_checkpoints import NatsCheckpoints
from services.agent.metrics import AgentMetrics
from shared.errors import TakenOver
from tests.integration.agent_stand import SEARCH, WRITES, answer_of, python, tool, tools_of
from tests.integration.test_agent import (
    WRITTEN,
    agent,
    events_of,
    publish,
    serve,
)
from tests.running import client_of, eventually, stored
from tests.scripted_llm import ScriptedLlm
from tests.servers import NatsServer, free_port
from tests.unit.agent.library import Library

NO_METER = NoOpMeterProvider().get_meter("test")


def agent_process(
    server: NatsServer, endpoint: ScriptedLlm, port: int
) -> AbstractContextManager[subprocess.Popen[bytes]]:
    return python(
        "-m",
        "services.agent.app",
        RAG_NATS_URL=server.url,
        RAG_PORT=str(port),
        RAG_LLM_BASE_URL=endpoint.url,
        RAG_AGENT_TOOLS="temperature",
        RAG_LOG_LEVEL="warning",
        # The call that waits must still wait when the agent is killed, however slow the machine.
        RAG_AGENT_TOOL_SECONDS="60",
        RAG_AGENT_MAX_SECONDS="110",
    )


async def ready(port: int) -> bool:
    async with httpx.AsyncClient() as http:
        try:
            return (await http.get(f"http://127.0.0.1:{port}/ready")).status_code == 200
        except httpx.HTTPError:
            return False


@pytest.mark.timeout(150)
async def test_a_killed_agent_s_question_is_gone_on_with_and_nothing_finished_is_done_again(
    nats_broker: NatsServer, endpoint: ScriptedLlm
) -> None:
    """INVARIANT: effects happen once. kill -9 of an agent in the middle repeats no finished call of model or tools."""
    slow_reached = asyncio.Event()
    cities: list[str] = []

    async def handle(message: Msg) -> None:
        city = json.loads(message.data)["city"]
        cities.append(city)
        if city == "Ystad" and not slow_reached.is_set():
            slow_reached.set()
            return
        await message.respond(json.dumps({"city": city, "celsius": 21}).encode())

    both = tools_of(("temperature", {"city": "Lindby"}), ("temperature", {"city": "Ystad"}))
    endpoint.script.extend([tools_of(SEARCH), both, WRITES])
    first_port, second_port = free_port(), free_port()
    async with client_of(nats_broker.url) as client, tool(client, "temperature", handle):
        await serve(client, Library())
        with agent_process(nats_broker, endpoint, first_port) as first:
            await eventually(lambda: ready(first_port), "the first agent is ready", 60)
            await publish(client, mode="agent", seconds=110.0)
            await asyncio.wait_for(slow_reached.wait(), timeout=20)
            await eventually(lambda: _steps(client, 4), "the first call of the step is told")
            with agent_process(nats_broker, endpoint, second_port):
                await eventually(lambda: ready(second_port), "the second agent is ready", 60)
                first.send_signal(signal.SIGKILL)
                first.wait(timeout=10)
                # Thirty seconds of waiting for a sign of life are not what is tested here.
                await _hasten_redelivery(client)
                answer = await answer_of(client)
        events = await events_of(client)
        assert await stored(client, "DEAD") == []
    assert (answer.answered, answer.answer) == (True, WRITTEN)
    assert len(endpoint.requests) == 3, "no finished request to the model is made again"
    assert cities == ["Lindby", "Ystad", "Ystad"], "only the call that had no result yet is made again"
    assert [event.data["n"] for event in events if event.type == "step"] == [1, 2, 3, 4, 5]
    assert [event.data for event in events if event.type == "step"] == answer.steps
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert answer.usage["llm_calls"] == 3


async def _steps(client: Client, number: int) -> bool:
    return len([event for event in await events_of(client) if event.type == "step"]) >= number


async def _hasten_redelivery(client: Client) -> None:
    jetstream = client.jetstream()
    config = (await jetstream.consumer_info(topology.AGENT.stream, topology.AGENT.name)).config
    config.ack_wait = 1.0
    await jetstream.add_consumer(topology.AGENT.stream, config=config)


async def test_of_two_agents_with_one_question_only_the_later_one_can_keep_anything(nats_broker: NatsServer) -> None:
    """INVARIANT: effects happen once. A frozen agent that wakes up must not write over the one that went on."""
    metrics = AgentMetrics(NO_METER)
    loop = Loop(started_at=1.0)
    async with client_of(nats_broker.url) as client:
        bucket = NatsCheckpoints(client, metrics)
        first = await bucket.open("q1", "acme")
        await first.save(loop)
        second = await bucket.open("q1", "acme")
        assert second.loop == loop
        with pytest.raises(TakenOver):
            await first.save(loop.closed("time"))
        await second.save(loop.closed("steps"))
        assert (await bucket.open("q1", "other")).loop is None, "another tenant's question of the same id begins anew"


async def test_an_agent_goes_on_when_its_steps_cannot_be_kept(nats_broker: NatsServer, endpoint: ScriptedLlm) -> None:
    async with client_of(nats_broker.url) as client:
        jetstream = client.jetstream()
        endpoint.script.extend([tools_of(SEARCH), WRITES])
        async with agent(nats_broker, llm_base_url=endpoint.url):
            await jetstream.delete_stream("KV_agent-steps")
            await serve(client, Library())
            await publish(client, mode="agent")
            assert (await answer_of(client)).answered
