"""The agent with tools on a real nats-server and a scripted endpoint."""

import json

import pytest

from contracts import subjects
from contracts.retrieval import PassagesReply, PassagesRequest
from services.agent.events import Told
from shared.messaging.broker import settle
from shared.messaging.requests import respond
from tests.integration.agent_stand import SEARCH, WRITES, answer_of, asked, tools_of
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
from tests.running import client_of, eventually
from tests.scripted_llm import Reply, ScriptedLlm
from tests.servers import NatsServer
from tests.unit.agent.library import Library, chunk_of


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
    assert answer.usage == {
        "input_tokens": 300,
        "output_tokens": 30,
        "llm_calls": 3,
        "cost": pytest.approx(0.03),
        "invented_markers": 0,
    }
    assert left.state.bytes < 200, "what was kept of an answered question is forgotten"
    third = endpoint.requests[2]["messages"]
    assert [message["role"] for message in third] == ["system", "user", "assistant", "tool", "assistant", "tool"]
    assert third[3]["tool_call_id"] == third[2]["tool_calls"][0]["id"]
    assert "1987" in third[5]["content"]


async def test_the_answer_s_first_token_leaves_before_the_second_comes(
    nats_broker: NatsServer, endpoint: ScriptedLlm
) -> None:
    async with asked(
        nats_broker, endpoint, tools_of(SEARCH), Reply(text=WRITTEN, gap=30.0), drain_seconds=0.2
    ) as client:

        async def with_delta() -> list[str]:
            return [event.data["text"] for event in await events_of(client) if event.type == "delta"]

        assert await eventually(with_delta, "the first delta is out") == ["The"]


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
        await settle(client)
        await publish(client, mode="agent", collection="town")
        answer = await answer_of(client)
    (request,) = requests
    assert (request.tenant, request.collection, request.first_page, request.last_page) == ("acme", "town", 2, 3)
    assert answer.citations[0].document_id == "harbour"
