"""An agent with a scripted endpoint, and tools as any program would serve them."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg

from contracts import subjects
from contracts.queries import Answer
from shared.messaging.broker import settle
from shared.settings import PROJECT_ROOT
from tests.integration.test_agent import (
    TEXT,
    WRITTEN,
    agent,
    end_of,
    publish,
    serve,
)
from tests.running import client_of
from tests.scripted_llm import Reply, ScriptedLlm
from tests.servers import NatsServer, child_environment
from tests.unit.agent.library import Library

SEARCH = ("search_documents", {"query": TEXT})
WRITES = Reply(text=WRITTEN)
OBJECT = json.dumps({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})


def tools_of(*calls: tuple[str, Any], text: str = "") -> Reply:
    return Reply(text=text, tool_calls=calls)


@asynccontextmanager
async def asked(server: NatsServer, endpoint: ScriptedLlm, *script: Reply, **settings: Any) -> AsyncIterator[Client]:
    """Run an agent with that script, ask it, and give a client to look at what it tells."""
    endpoint.script.extend(script)
    async with client_of(server.url) as client, agent(server, llm_base_url=endpoint.url, **settings):
        await serve(client, Library())
        await publish(client, mode="agent")
        yield client


async def answer_of(client: Client) -> Answer:
    end = await end_of(client)
    assert end.type == "done", end.data
    return Answer.model_validate(end.data)


@asynccontextmanager
async def tool(
    client: Client, name: str, handle: Callable[[Msg], Any], schema: str | None = OBJECT, instance: str = "one"
) -> AsyncIterator[list[Msg]]:
    """Serve a tool by the protocol of micro services, as a program in any language would; yields its calls."""
    calls: list[Msg] = []
    metadata = {"schema": schema} if schema is not None else {}
    told = {
        "type": "io.nats.micro.v1.info_response",
        "name": name,
        "id": instance,
        "version": "1.0.0",
        "description": f"The {name} of a city.",
        "endpoints": [{"name": name, "subject": subjects.tool(name), "queue_group": "q", "metadata": metadata}],
        "metadata": {},
    }

    async def info(message: Msg) -> None:
        await message.respond(json.dumps(told).encode())

    async def called(message: Msg) -> None:
        calls.append(message)
        made = handle(message)
        if hasattr(made, "__await__"):
            await made

    subscriptions = [
        await client.subscribe("$SRV.INFO", cb=info),
        await client.subscribe(subjects.tool(name), queue="q", cb=called),
    ]
    await settle(client)
    try:
        yield calls
    finally:
        for subscription in subscriptions:
            await subscription.unsubscribe()


@contextmanager
def python(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, *arguments]
    process = subprocess.Popen(command, cwd=PROJECT_ROOT, env=child_environment(**environment))
    try:
        yield process
    finally:
        process.kill()
        process.wait(timeout=10)
