"""The agent with tools on a real nats-server and a scripted endpoint."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import httpx
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from opentelemetry.metrics import NoOpMeterProvider

from contracts import subjects, topology
from contracts.queries import Answer
from contracts.retrieval import PassagesReply, PassagesRequest
from services.agent.agent_mode.loop import Loop
from services.agent.agent_mode.nats_checkpoints import NatsCheckpoints
from services.agent.events import Told
from services.agent.metrics import AgentMetrics
from shared.errors import TakenOver
from shared.messaging.requests import respond
from shared.settings import PROJECT_ROOT
from tests.integration.test_agent import (
    METRICS,
    TEXT,
    TRACER,
    WRITTEN,
    agent,
    end_of,
    events_of,
    publish,
    serve,
    settled,
)
from tests.running import client_of, eventually, stored
from tests.scripted_llm import Reply, ScriptedLlm, scripted_llm
from tests.servers import NatsServer, child_environment, free_port
from tests.unit.agent.library import Library, chunk_of

NO_METER = NoOpMeterProvider().get_meter("test")
SEARCH = ("search_documents", {"query": TEXT})
WRITES = Reply(text=WRITTEN)
OBJECT = json.dumps({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})


@pytest.fixture
def endpoint() -> Iterator[ScriptedLlm]:
    with scripted_llm() as running:
        yield running


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
    await client.flush()
    try:
        yield calls
    finally:
        for subscription in subscriptions:
            await subscription.unsubscribe()


async def test_a_question_is_answered_with_tools_and_cited(nats_broker: NatsServer, endpoint: ScriptedLlm) -> None:
    script = [tools_of(SEARCH), tools_of(("calculate", {"expression": "1887 + 100"})), WRITES]
    async with asked(nats_broker, endpoint, *script, llm_output_price=1000.0) as client:
        answer = await answer_of(client)
        await eventually(lambda: settled(client), "the question is acknowledged")
        events = await events_of(client)
        left = await client.jetstream().stream_info("KV_agent-steps")
    assert (answer.answered, answer.answer) == (True, WRITTEN)
    assert [citation.quote for citation in answer.citations] == ["The harbour of Lindby opened in 1887."]
    kinds = [event.type for event in events]
    assert kinds[:5] == ["accepted", "step", "step", "step", "step"]
    assert kinds[-2:] == ["citations", "done"]
    assert set(kinds[5:-2]) == {"delta"}
    assert [event.data for event in events if event.type == "step"] == answer.steps
    assert [step.get("tool") for step in answer.steps] == [None, "search_documents", None, "calculate"]
    assert answer.usage == {"input_tokens": 300, "output_tokens": 30, "llm_calls": 3, "cost": pytest.approx(0.03)}
    assert left.state.bytes < 200, "what was kept of an answered question is forgotten"
    third = endpoint.requests[2]["messages"]
    assert [message["role"] for message in third] == ["system", "user", "assistant", "tool", "assistant", "tool"]
    assert third[3]["tool_call_id"] == third[2]["tool_calls"][0]["id"]
    assert "1987" in third[5]["content"]


async def test_the_answer_s_first_token_leaves_before_the_second_comes(
    nats_broker: NatsServer, endpoint: ScriptedLlm
) -> None:
    async with asked(nats_broker, endpoint, tools_of(SEARCH), Reply(text=WRITTEN, gap=30.0)) as client:

        async def with_delta() -> list[str]:
            return [event.data["text"] for event in await events_of(client) if event.type == "delta"]

        assert await eventually(with_delta, "the first delta is out") == ["The"]


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


async def test_by_schema_an_endpoint_without_tool_calls_is_enough(
    nats_broker: NatsServer, endpoint: ScriptedLlm
) -> None:
    refused = Reply(status=400, error={"message": "this endpoint does not support `tools`"})
    calling = json.dumps({"tool_calls": [{"tool": "search_documents", "arguments": {"query": TEXT}}], "answer": ""})
    answering = json.dumps({"tool_calls": [], "answer": WRITTEN})
    script = [refused, Reply(text=calling), Reply(text=answering)]
    async with asked(nats_broker, endpoint, *script) as client:
        answer = await answer_of(client)
        text = Told(tuple(await events_of(client))).text
    assert (answer.answered, answer.answer, text) == (True, WRITTEN, WRITTEN)
    assert "tools" in endpoint.requests[0]
    assert "tools" not in endpoint.requests[1]
    assert endpoint.requests[1]["response_format"]["type"] == "json_schema"


async def test_garbage_arguments_and_unknown_tools_are_told_to_the_model(
    nats_broker: NatsServer, endpoint: ScriptedLlm
) -> None:
    script = [tools_of(("search_documents", {"words": 7}), ("fly", {})), tools_of(SEARCH), WRITES]
    async with asked(nats_broker, endpoint, *script) as client:
        answer = await answer_of(client)
    assert answer.answered
    told = [message["content"] for message in endpoint.requests[1]["messages"] if message["role"] == "tool"]
    assert told[0].startswith("Wrong arguments: ")
    assert told[1].startswith("There is no tool of this name. You have: search_documents, read_document, calculate")


async def test_when_a_budget_ends_the_model_answers_from_what_it_has(
    nats_broker: NatsServer, endpoint: ScriptedLlm
) -> None:
    async with asked(nats_broker, endpoint, tools_of(SEARCH), WRITES, agent_max_steps=1) as client:
        answer = await answer_of(client)
    assert answer.answered
    assert (answer.steps[-1]["kind"], answer.steps[-1]["budget"]) == ("budget", "steps")
    assert "tools" in endpoint.requests[0]
    assert "tools" not in endpoint.requests[1]


async def test_a_model_that_dawdles_over_its_tools_is_asked_for_the_answer_in_time(
    nats_broker: NatsServer, endpoint: ScriptedLlm
) -> None:
    limits = {"agent_max_seconds": 2.0, "agent_answer_seconds": 1.0}
    script = [tools_of(SEARCH), Reply(text="I think about it", gap=5.0), WRITES]
    async with asked(nats_broker, endpoint, *script, **limits) as client:
        answer = await answer_of(client)
        text = Told(tuple(await events_of(client))).text
    assert (answer.answered, answer.answer, text) == (True, WRITTEN, WRITTEN)
    assert answer.steps[-1]["budget"] == "time"


async def test_without_a_language_model_the_mode_says_what_to_set(nats_broker: NatsServer) -> None:
    async with client_of(nats_broker.url) as client, agent(nats_broker):
        await publish(client, mode="agent")
        end = await end_of(client)
    assert (end.type, end.data["code"], end.data["field"]) == ("error", "not_available", "mode")
    assert "RAG_LLM_BASE_URL" in end.data["message"]


async def test_a_document_is_read_where_it_stands(nats_broker: NatsServer, endpoint: ScriptedLlm) -> None:
    requests: list[PassagesRequest] = []

    async def passages(request: PassagesRequest, _deadline: float | None) -> PassagesReply:
        requests.append(request)
        return PassagesReply(passages=[chunk_of("harbour", "The harbour of Lindby opened in 1887.", page=3)])

    read = ("read_document", {"document_id": "harbour", "from_page": 2, "to_page": 3})
    endpoint.script.extend([tools_of(read), WRITES])
    async with client_of(nats_broker.url) as client, agent(nats_broker, llm_base_url=endpoint.url):
        await serve(client, Library())
        await respond(
            client, TRACER, METRICS, subjects.READ_PASSAGES, PassagesRequest, passages, queue="r", concurrency=8
        )
        await client.flush()
        await publish(client, mode="agent", collection="town")
        answer = await answer_of(client)
    (request,) = requests
    assert (request.tenant, request.collection, request.first_page, request.last_page) == ("acme", "town", 2, 3)
    assert answer.citations[0].document_id == "harbour"


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
    async with client_of(nats_broker.url) as server_side:
        async with tool(server_side, "send_mail", lambda message: message.respond(b"sent")) as calls:
            async with asked(nats_broker, endpoint, *script, agent_tools="temperature") as client:
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
        (("404", "no thermometer there"), "refused the call: no thermometer there"),
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
    "schema", [None, "{not json", '{"type": "array"}', '{"type": "object", "properties": 7}', '{"$ref": "http://x/y"}']
)
async def test_a_tool_without_a_usable_schema_is_not_offered(
    nats_broker: NatsServer, endpoint: ScriptedLlm, schema: str | None
) -> None:
    async with client_of(nats_broker.url) as server_side:
        async with tool(server_side, "temperature", lambda message: None, schema=schema):
            async with asked(nats_broker, endpoint, tools_of(SEARCH), WRITES, agent_tools="temperature") as client:
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


@contextmanager
def python(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, *arguments]
    process = subprocess.Popen(command, cwd=PROJECT_ROOT, env=child_environment(**environment))
    try:
        yield process
    finally:
        process.kill()
        process.wait(timeout=10)


async def _tells(client: Client, service: str) -> bool:
    try:
        return bool((await client.request(f"$SRV.INFO.{service}", b"", timeout=0.5)).data)
    except NatsError:
        return False


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
    )


async def ready(port: int) -> bool:
    async with httpx.AsyncClient() as http:
        try:
            return (await http.get(f"http://127.0.0.1:{port}/ready")).status_code == 200
        except httpx.HTTPError:
            return False


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
            await eventually(lambda: ready(first_port), "the first agent is ready", 30)
            await publish(client, mode="agent", seconds=60.0)
            await asyncio.wait_for(slow_reached.wait(), timeout=20)
            await eventually(lambda: _steps(client, 4), "the first call of the step is told")
            with agent_process(nats_broker, endpoint, second_port):
                await eventually(lambda: ready(second_port), "the second agent is ready", 30)
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
