"""A question's whole way in a stream: gateway, broker, agent and a language model that says what the test wants."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from nats.aio.client import Client

from contracts.facts import QueryAnswered, QueryFailed
from services.agent.app import build_lifespan
from services.agent.settings import AgentSettings
from tests.integration.gateway_stand import running_gateway
from tests.integration.test_agent import TEXT, WRITTEN, facts_of, serve, settled
from tests.running import client_of, eventually, running_service
from tests.scripted_llm import Reply, ScriptedLlm, scripted_llm
from tests.servers import NatsServer
from tests.sse import Reading, reading, serving
from tests.unit.agent.library import Library

QUESTION = {"question": TEXT, "stream": True}
UNATTENDED_SECONDS = 0.8
# A word of it is a piece of text, and every piece after the first one waits for so long.
BLOCKED_SECONDS = 60.0


@dataclass
class Path:
    """Everything that takes part; `http` is one gateway, `other` another."""

    http: httpx.AsyncClient
    other: httpx.AsyncClient
    client: Client
    llm: ScriptedLlm

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[Reading]:
        async with reading(self.http, "POST", "/v1/query", json=QUESTION) as stream:
            yield stream


@pytest.fixture
async def path(nats_broker: NatsServer) -> AsyncIterator[Path]:
    with scripted_llm() as llm:
        agent = AgentSettings(
            nats_url=nats_broker.url,
            drain_seconds=5,
            agent_unattended_seconds=UNATTENDED_SECONDS,
            llm_base_url=llm.url,
            llm_delta_seconds=0,
            llm_first_token_seconds=BLOCKED_SECONDS,
            llm_idle_seconds=BLOCKED_SECONDS,
        )
        chosen: dict[str, Any] = {"gateway_listening_seconds": UNATTENDED_SECONDS / 4}
        async with (
            client_of(nats_broker.url) as client,
            running_gateway(nats_broker, **chosen) as (_, first, _gateway),
            running_gateway(nats_broker, instance="gateway-2", **chosen) as (_, second, _other),
            serving(first._transport.app) as http,  # type: ignore[attr-defined]
            serving(second._transport.app) as other,  # type: ignore[attr-defined]
            running_service("agent", agent, build_lifespan(agent)),
        ):
            await serve(client, Library())
            yield Path(http, other, client, llm)


async def test_an_answer_is_written_before_the_readers_eyes(path: Path) -> None:
    path.llm.script.append(Reply(text=WRITTEN, gap=0.02))
    async with path.asking() as stream:
        events = await stream.rest()
    assert [int(one.id) for one in events] == list(range(1, len(events) + 1))
    kinds = [one.type for one in events]
    assert (kinds[:2], kinds[-2:]) == (["accepted", "retrieval"], ["citations", "done"])
    assert kinds.count("delta") >= 3
    done = events[-1].data
    assert "".join(one.data["text"] for one in events if one.type == "delta") == done["answer"] == WRITTEN
    assert events[-2].data["citations"] == done["citations"]
    assert done["trace_id"] == events[0].data["trace_id"] == stream.response.headers["X-Trace-Id"]


async def test_the_first_words_arrive_while_the_model_thinks_about_the_next(path: Path) -> None:
    path.llm.script.append(Reply(text=WRITTEN, gap=BLOCKED_SECONDS))
    started = time.monotonic()
    async with path.asking() as stream:
        assert (await stream.until("delta")).data == {"text": "The"}
    assert time.monotonic() - started < BLOCKED_SECONDS / 4


async def test_an_answer_that_nobody_listens_to_is_cancelled_up_to_the_model(path: Path) -> None:
    path.llm.script.append(Reply(text=WRITTEN, gap=BLOCKED_SECONDS))
    async with path.asking() as stream:
        query_id = (await stream.next()).data["id"]  # type: ignore[union-attr]
        last = await stream.until("delta")
    await eventually(lambda: path.llm.abandoned == 1, "the model's endpoint hears that nobody reads on")
    await eventually(lambda: settled(path.client), "the question is settled")
    (fact,) = await facts_of(path.client)
    assert isinstance(fact, QueryFailed)
    assert fact.code == "query_cancelled"
    async with reading(path.other, "GET", f"/v1/queries/{query_id}/events", last_event_id=last.id) as stream:
        (end,) = await stream.rest()
    assert (end.type, end.data["code"], end.data["status"]) == ("error", "query_cancelled", 504)
    assert len(path.llm.requests) == 1, "what was cancelled is not tried again"


async def test_a_reader_who_comes_back_in_time_gets_the_whole_answer(path: Path) -> None:
    path.llm.script.append(Reply(text=WRITTEN, gap=UNATTENDED_SECONDS / 3))
    async with path.asking() as stream:
        query_id = (await stream.next()).data["id"]  # type: ignore[union-attr]
        last = await stream.until("delta")
    await asyncio.sleep(UNATTENDED_SECONDS / 2)
    async with reading(path.other, "GET", f"/v1/queries/{query_id}/events", last_event_id=last.id) as stream:
        events = await stream.rest()
    assert events[-1].data["answer"] == WRITTEN
    assert last.data["text"] + "".join(one.data["text"] for one in events if one.type == "delta") == WRITTEN
    assert path.llm.abandoned == 0
    await eventually(lambda: settled(path.client), "the question is settled")
    (fact,) = await facts_of(path.client)
    assert isinstance(fact, QueryAnswered)


async def test_a_caller_who_leaves_while_it_waits_for_the_whole_answer_frees_the_model_too(path: Path) -> None:
    path.llm.script.append(Reply(text=WRITTEN, gap=BLOCKED_SECONDS))
    waiting = asyncio.create_task(path.http.post("/v1/query", json={**QUESTION, "stream": False}))
    await eventually(lambda: path.llm.streams == 1, "the model writes")
    await asyncio.sleep(2 * UNATTENDED_SECONDS)
    assert path.llm.abandoned == 0, "as long as somebody waits the model writes on"
    waiting.cancel()
    await eventually(lambda: path.llm.abandoned == 1, "the model's endpoint hears that nobody waits any more")
