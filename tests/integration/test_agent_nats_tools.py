"""Tools that anybody serves on the broker."""

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from contracts import subjects
from tests.integration.agent_stand import OBJECT, SEARCH, WRITES, answer_of, asked, python, tool, tools_of
from tests.running import client_of, eventually
from tests.scripted_llm import Reply, ScriptedLlm
from tests.servers import NatsServer


async def test_two_slow_tools_take_the_time_of_one(nats_broker: NatsServer, endpoint: ScriptedLlm) -> None:
    async def slowly(message: Msg) -> None:
        async def later() -> None:
            await asyncio.sleep(1.0)
            await message.respond(b"21 degrees")

        pending.append(asyncio.create_task(later()))

    pending: list[asyncio.Task[None]] = []
    script = [tools_of(("temperature", {"city": "Lindby"}), ("temperature", {"city": "Ystad"}))]
    async with (
        client_of(nats_broker.url) as server_side,
        tool(server_side, "temperature", slowly) as calls,
        asked(nats_broker, endpoint, *script, Reply(text="It has 21 degrees."), agent_tools="temperature") as client,
    ):
        answer = await answer_of(client)
    steps = [step for step in answer.steps if step["kind"] == "tool"]
    assert len(calls) == 2
    assert all(1000 <= step["duration_ms"] < 1800 for step in steps)
    assert answer.answered


async def test_an_allowed_tool_is_found_called_and_given_tenant_and_deadline(
    nats_broker: NatsServer, endpoint: ScriptedLlm
) -> None:
    """INVARIANT: a tenant sees only its own. What a tool may look at is said by the platform, not by the model."""
    script = [tools_of(("temperature", {"city": "Lindby"})), Reply(text="It has 21 degrees.")]
    async with client_of(nats_broker.url) as server_side:
        handle = lambda message: message.respond(b'{"celsius": 21}')  # noqa: E731
        async with tool(server_side, "temperature", handle) as calls, tool(server_side, "send_mail", handle) as mails:
            settings = {"agent_tools": "temperature, other", "agent_tool_seconds": 4.0}
            async with asked(nats_broker, endpoint, *script, **settings) as client:
                answer = await answer_of(client)
    (call,) = calls
    assert mails == []
    offered = {one["function"]["name"]: one["function"] for one in endpoint.requests[0]["tools"]}
    assert offered["temperature"]["parameters"] == json.loads(OBJECT)
    assert offered["temperature"]["description"] == "The temperature of a city."
    assert "send_mail" not in offered
    assert call.headers is not None
    assert call.headers[subjects.HEADER_TENANT] == "acme"
    assert abs(int(call.headers[subjects.HEADER_DEADLINE]) / 1000 - time.time()) < 5
    assert json.loads(call.data) == {"city": "Lindby"}
    assert (answer.answered, answer.answer, answer.citations) == (True, "It has 21 degrees.", [])


async def test_a_tool_that_is_not_on_the_list_stays_uncalled_whatever_the_model_wants(
    nats_broker: NatsServer, endpoint: ScriptedLlm
) -> None:
    """INVARIANT: only what the operator allowed is called, though a document had talked the model into more."""
    script = [tools_of(SEARCH), tools_of(("send_mail", {"city": "x"})), WRITES]
    async with (
        client_of(nats_broker.url) as server_side,
        tool(server_side, "send_mail", lambda message: message.respond(b"sent")) as calls,
        asked(nats_broker, endpoint, *script, agent_tools="temperature") as client,
    ):
        answer = await answer_of(client)
    assert calls == []
    assert "no tool of this name" in endpoint.requests[2]["messages"][-1]["content"]
    assert answer.answered


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (None, "temperature did not answer in time"),
        (b"\xff\xfe\x00", "answered nothing that can be read"),
        (b"x" * 70_000, "answered more than can be read"),
        (("404", "no thermometer there"), "refused: no thermometer there"),
    ],
    ids=["slow", "garbage", "huge", "error"],
)
async def test_a_tool_that_misbehaves_is_an_instruction(
    nats_broker: NatsServer, endpoint: ScriptedLlm, reply: Any, words: str
) -> None:
    async def handle(message: Msg) -> None:
        if isinstance(reply, tuple):
            headers = {"Nats-Service-Error-Code": reply[0], "Nats-Service-Error": reply[1]}
            await server_side.publish(message.reply, b"", headers=headers)
        elif reply is not None:
            await message.respond(reply)

    script = [tools_of(("temperature", {"city": "Lindby"})), tools_of(SEARCH), WRITES]
    async with client_of(nats_broker.url) as server_side, tool(server_side, "temperature", handle):
        settings = {"agent_tools": "temperature", "agent_tool_seconds": 0.3}
        async with asked(nats_broker, endpoint, *script, **settings) as client:
            answer = await answer_of(client)
    assert words in endpoint.requests[1]["messages"][-1]["content"]
    assert answer.answered


@pytest.mark.parametrize(
    "schema",
    [None, "{not json", '{"type": "array"}', '{"type": "object", "properties": 7}', '{"type": "object", "$ref": "x"}'],
)
async def test_a_tool_without_a_usable_schema_is_not_offered(
    nats_broker: NatsServer, endpoint: ScriptedLlm, schema: str | None
) -> None:
    async with (
        client_of(nats_broker.url) as server_side,
        tool(server_side, "temperature", lambda message: None, schema=schema),
        asked(nats_broker, endpoint, tools_of(SEARCH), WRITES, agent_tools="temperature") as client,
    ):
        assert (await answer_of(client)).answered
    assert "temperature" not in [one["function"]["name"] for one in endpoint.requests[0]["tools"]]


async def test_a_tool_whose_services_disagree_is_not_offered(nats_broker: NatsServer, endpoint: ScriptedLlm) -> None:
    other = json.dumps({"type": "object", "properties": {"place": {"type": "string"}}})
    nothing: Callable[[Msg], Any] = lambda _message: None  # noqa: E731
    async with client_of(nats_broker.url) as server_side, AsyncExitStack() as stack:
        await stack.enter_async_context(tool(server_side, "temperature", nothing))
        await stack.enter_async_context(tool(server_side, "temperature", nothing, other, instance="two"))
        await stack.enter_async_context(tool(server_side, "humidity", nothing))
        settings = {"agent_tools": "temperature,humidity"}
        async with asked(nats_broker, endpoint, tools_of(SEARCH), WRITES, **settings) as client:
            await answer_of(client)
    offered = [one["function"]["name"] for one in endpoint.requests[0]["tools"]]
    assert "humidity" in offered
    assert "temperature" not in offered


async def test_the_sample_tool_of_the_documentation_works(nats_broker: NatsServer, endpoint: ScriptedLlm) -> None:
    script = [tools_of(("temperature", {"city": "Lindby"})), Reply(text="Lindby has 21.5 degrees.")]
    with python("docs/examples/temperature_tool.py", nats_broker.url):
        async with client_of(nats_broker.url) as client:
            await eventually(lambda: _tells(client, "thermometers"), "the tool is there")
        async with asked(nats_broker, endpoint, *script, agent_tools="temperature") as client:
            answer = await answer_of(client)
    assert (answer.answered, answer.answer) == (True, "Lindby has 21.5 degrees.")
    assert '"celsius": 21.5' in endpoint.requests[1]["messages"][-1]["content"]


async def _tells(client: Client, service: str) -> bool:
    try:
        return bool((await client.request(f"$SRV.INFO.{service}", b"", timeout=0.5)).data)
    except NatsError:
        return False
