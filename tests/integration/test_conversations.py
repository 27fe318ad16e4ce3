"""Conversations and feedback through the gateway, the agent and persistence on a real broker."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from nats.aio.client import Client
from sqlalchemy import text

from contracts import subjects
from contracts.codec import encode
from contracts.conversations import ConversationTurn
from contracts.facts import QueryAnswered
from contracts.retrieval import EmbedRequest, RetrieveRequest
from services.agent.app import build_lifespan
from services.agent.settings import AgentSettings
from services.persistence.database import open_database
from services.persistence.settings import PersistenceSettings
from shared.messaging.broker import settle
from shared.messaging.requests import respond
from shared.service import Service
from tests.integration.gateway_stand import running_gateway
from tests.integration.persistence_service import Stand, persistence
from tests.integration.test_agent import METRICS, TRACER
from tests.running import client_of, eventually, everything_twice, running_service, stored
from tests.scripted_llm import Reply, scripted_llm
from tests.servers import NatsServer
from tests.unit.agent.library import Library

ASKED = "When did the harbour of Lindby open?"
FOLLOW_UP = "Who built its lighthouse?"


@dataclass
class Talk:
    """A gateway to talk to, and the broker behind it."""

    http: httpx.AsyncClient
    client: Client

    async def ask(self, question: str, conversation_id: str | None = None, **fields: Any) -> dict[str, Any]:
        body = {"question": question, "conversation_id": conversation_id, **fields}
        return self.found(await self.http.post("/v1/query", json=body))

    async def read(self, conversation_id: str) -> dict[str, Any]:
        return self.found(await self.http.get(f"/v1/conversations/{conversation_id}"))

    async def listed(self) -> list[str]:
        return [one["id"] for one in self.found(await self.http.get("/v1/conversations"))["items"]]

    async def rate(self, query_id: str, rating: str = "up", **fields: Any) -> httpx.Response:
        return await self.http.post("/v1/feedback", json={"query_id": query_id, "rating": rating, **fields})

    @staticmethod
    def found(response: httpx.Response) -> dict[str, Any]:
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body


@asynccontextmanager
async def talking(broker: NatsServer, **agent: Any) -> AsyncIterator[Talk]:
    """Run a gateway and an agent over a small library; persistence is the test's."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(client_of(broker.url))
        library = Library()
        for subject, model, handler in (
            (subjects.RETRIEVE, RetrieveRequest, library.retrieve),
            (subjects.EMBED_QUERY, EmbedRequest, library.embed),
        ):
            await respond(client, TRACER, METRICS, subject, model, handler, queue="t", concurrency=8)
        await settle(client)
        settings = AgentSettings(nats_url=broker.url, **{"drain_seconds": 5, "agent_patience_seconds": 1, **agent})
        await stack.enter_async_context(running_service("agent", settings, build_lifespan(settings)))
        _, http, _ = await stack.enter_async_context(running_gateway(broker))
        yield Talk(http, client)


def stand_is_idle(stand: Stand) -> Callable[[], Awaitable[bool]]:
    async def idle() -> bool:
        return await stand.backlog("FACTS", "persistence") == 0

    return idle


def kept_feedback(settings: PersistenceSettings) -> list[tuple[Any, ...]]:
    database = open_database(settings)
    try:
        with database.reads.connect() as connection:
            columns = "query_id, rating, comment, trace_id, conversation_id"
            return [tuple(row) for row in connection.execute(text(f"SELECT {columns} FROM feedback"))]
    finally:
        database.close()


async def test_a_follow_up_is_understood_and_both_turns_are_kept(
    nats_broker: NatsServer, each_database: PersistenceSettings
) -> None:
    async with persistence(nats_broker, each_database.data_dir), talking(nats_broker) as talk:
        first = await talk.ask(ASKED, "new")
        conversation_id = first["conversation_id"]
        second = await talk.ask(FOLLOW_UP, conversation_id)
        found = await talk.read(conversation_id)
        assert await talk.listed() == [conversation_id]
    assert second["answered"]
    assert second["citations"][0]["quote"].startswith("Its lighthouse was built by Greta Holm")
    rewritten = f"{ASKED} {FOLLOW_UP}"
    assert second["steps"] == [{"kind": "rewritten", "question": rewritten}]
    assert (second["conversation_id"], found["title"], found["turn_count"]) == (conversation_id, ASKED, 2)
    for reply, turn, asked, alone in zip(
        (first, second), found["turns"], (ASKED, FOLLOW_UP), (None, rewritten), strict=True
    ):
        assert (turn["query_id"], turn["trace_id"]) == (reply["id"], reply["trace_id"])
        assert (turn["question"], turn["stand_alone"]) == (asked, alone)
        assert (turn["answer"], turn["citations"]) == (reply["answer"], reply["citations"])
        assert turn["asked_at"] < turn["answered_at"]


async def test_without_a_conversation_nothing_is_kept(nats_broker: NatsServer, tmp_path: Path) -> None:
    async with persistence(nats_broker, tmp_path), talking(nats_broker) as talk:
        reply = await talk.ask(ASKED)
        assert reply["conversation_id"] is None
        assert await talk.listed() == []


async def test_a_language_model_rewrites_the_question(nats_broker: NatsServer, tmp_path: Path) -> None:
    written = "The lighthouse was built by Greta Holm [1]."
    with scripted_llm() as endpoint:
        endpoint.script.extend(
            [
                Reply(text="It opened in 1887 [1]."),
                Reply(text="Who built the lighthouse of Lindby?", usage=(70, 8)),
                Reply(text=written, usage=(100, 10)),
            ]
        )
        async with persistence(nats_broker, tmp_path), talking(nats_broker, llm_base_url=endpoint.url) as talk:
            await talk.ask(ASKED, "mine")
            second = await talk.ask(FOLLOW_UP, "mine")
    assert second["answer"] == written
    assert second["steps"] == [{"kind": "rewritten", "question": "Who built the lighthouse of Lindby?"}]
    assert (second["usage"]["llm_calls"], second["usage"]["input_tokens"]) == (2, 170)
    history = endpoint.requests[1]["messages"][1]["content"]
    assert ASKED in history
    assert "It opened in 1887" in history
    assert "Question: Who built the lighthouse of Lindby?" in endpoint.requests[2]["messages"][1]["content"]


async def test_an_answer_goes_out_while_persistence_is_away_and_its_turn_is_kept_once(
    nats_broker: NatsServer, tmp_path: Path
) -> None:
    """INVARIANT: accepted is durable: what was answered is in the history, once, when persistence is back."""
    async with talking(nats_broker, agent_patience_seconds=0.2, conversation_record_seconds=0.5) as talk:
        reply = await talk.ask(ASKED, "c1")
        assert reply["answered"]
        assert reply["steps"] == [{"kind": "not_rewritten", "code": "dependency_unavailable"}]
        waiting = await talk.client.jetstream().get_msg("TURNS", 1)
        async with persistence(nats_broker, tmp_path, everything_twice) as stand:
            # As if the request had come through as well, and only its reply had been lost.
            await stand.client.request(subjects.RECORD_TURN, waiting.data or b"", timeout=5)
            await eventually(lambda: _none_wait(talk), "the turn is taken")
            found = await talk.read("c1")
            assert await stored(talk.client, "DEAD") == []
    assert [turn["query_id"] for turn in found["turns"]] == [reply["id"]]
    assert b"harbour" in (waiting.data or b"")


async def _none_wait(talk: Talk) -> bool:
    return (await talk.client.jetstream().stream_info("TURNS")).state.messages == 0


async def test_no_text_of_a_conversation_is_in_a_fact(nats_broker: NatsServer, tmp_path: Path) -> None:
    """INVARIANT: deleted is gone: facts are kept for a week and read by anybody."""
    async with persistence(nats_broker, tmp_path), talking(nats_broker) as talk:
        await talk.ask(ASKED, "c1")
        facts = await eventually(lambda: stored(talk.client, "FACTS"), "the fact is there")
    assert all(b"Lindby" not in fact.data for fact in facts)


async def test_a_deleted_conversation_is_gone_and_a_turn_on_its_way_does_not_bring_it_back(
    nats_broker: NatsServer, each_database: PersistenceSettings
) -> None:
    """INVARIANT: deleted is gone."""
    async with persistence(nats_broker, each_database.data_dir), talking(nats_broker) as talk:
        await talk.ask(ASKED, "c1")
        turn = (await talk.read("c1"))["turns"][0]
        gone = await talk.http.delete("/v1/conversations/c1")
        assert gone.json() == {"id": "c1", "turn_count": 1, "status": "deleted"}
        late = ConversationTurn(tenant="default", conversation_id="c1", version=9**9, **{**turn, "query_id": "late"})
        await talk.client.jetstream().publish(subjects.CONVERSATION_TURNS, encode(late))
        await eventually(lambda: _none_wait(talk), "the late turn is taken")
        assert await talk.listed() == []
        for method in ("GET", "DELETE"):
            problem = await talk.http.request(method, "/v1/conversations/c1")
            unknown = await talk.http.request(method, "/v1/conversations/c2")
            assert (problem.status_code, problem.json()["code"]) == (404, "conversation_not_found")
            assert problem.json()["detail"].replace("c1", "c2") == unknown.json()["detail"]
        again = await talk.http.post("/v1/query", json={"question": ASKED, "conversation_id": "c1"})
        assert (again.status_code, again.json()["code"], again.json()["field"]) == (
            422,
            "conversation_deleted",
            "conversation_id",
        )


async def test_a_delete_waits_for_turns_that_are_not_recorded_yet(nats_broker: NatsServer, tmp_path: Path) -> None:
    """INVARIANT: deleted is gone: a 404 would be wrong of a conversation whose turns only wait for persistence."""
    async with talking(nats_broker, agent_patience_seconds=0.2, conversation_record_seconds=0.3) as talk:
        await talk.ask(ASKED, "c1")
        reached, release = asyncio.Event(), asyncio.Event()

        def hold_turns(service: Service) -> None:
            consume = service.consume

            def held(consumer: Any, model: Any, handler: Any, *, workers: int) -> None:
                async def wait(message: Any, delivery: Any) -> None:
                    reached.set()
                    await release.wait()
                    await handler(message, delivery)

                consume(consumer, model, wait if consumer.name == "persistence-turns" else handler, workers=workers)

            service.consume = held  # type: ignore[method-assign]

        async with persistence(nats_broker, tmp_path, hold_turns):
            await asyncio.wait_for(reached.wait(), timeout=10)
            early = await talk.http.delete("/v1/conversations/c1")
            assert (early.status_code, early.json()["code"]) == (503, "not_recorded_yet")
            release.set()
            assert (await talk.http.delete("/v1/conversations/c1")).status_code == 200
            assert await talk.listed() == []


async def test_two_questions_at_once_are_two_turns(nats_broker: NatsServer, tmp_path: Path) -> None:
    async with persistence(nats_broker, tmp_path), talking(nats_broker) as talk:
        replies = await asyncio.gather(*(talk.ask(ASKED, "c1") for _ in range(8)))
        found = await talk.read("c1")
    assert {turn["query_id"] for turn in found["turns"]} == {reply["id"] for reply in replies}
    assert found["turn_count"] == 8
    assert found["turns"] == sorted(found["turns"], key=lambda turn: (turn["asked_at"], turn["query_id"]))


@pytest.mark.parametrize("conversation_id", ["a b", "x" * 65, "\u00fc"])
async def test_an_id_that_is_none_is_named(nats_broker: NatsServer, conversation_id: str) -> None:
    async with running_gateway(nats_broker) as (_, http, _):
        problem = await http.get(f"/v1/conversations/{conversation_id}")
    assert (problem.status_code, problem.json()["field"]) == (422, "conversation_id")


async def test_feedback_is_kept_once_with_the_trace_of_its_query(
    nats_broker: NatsServer, each_database: PersistenceSettings
) -> None:
    async with (
        persistence(nats_broker, each_database.data_dir, everything_twice) as stand,
        talking(nats_broker) as talk,
    ):
        reply = await talk.ask(ASKED, "c1")
        first = await talk.rate(reply["id"], "up", comment="helped")
        assert (first.status_code, first.json()) == (
            202,
            {"query_id": reply["id"], "rating": "up", "status": "accepted"},
        )
        assert (await talk.rate(reply["id"], "down")).status_code == 202
        await eventually(stand_is_idle(stand), "every fact is recorded")
        assert kept_feedback(each_database) == [(reply["id"], "down", None, reply["trace_id"], "c1")]
        await talk.http.delete("/v1/conversations/c1")
        assert kept_feedback(each_database) == []


async def test_feedback_outlives_the_answers_and_needs_no_conversation(nats_broker: NatsServer, tmp_path: Path) -> None:
    async with persistence(nats_broker, tmp_path) as stand, talking(nats_broker) as talk:
        reply = await talk.ask(ASKED)
        await eventually(stand_is_idle(stand), "the query is recorded")
        await talk.client.jetstream().purge_stream("ANSWERS")
        assert (await talk.rate(reply["id"])).status_code == 202


async def test_feedback_right_behind_an_answer_needs_no_persistence(nats_broker: NatsServer, tmp_path: Path) -> None:
    async with talking(nats_broker) as talk:
        reply = await talk.ask(ASKED)
        assert (await talk.rate(reply["id"])).status_code == 202
        assert (await talk.rate("unknown")).status_code == 503


async def test_feedback_on_a_query_of_another_tenant_looks_like_one_on_no_query(
    nats_broker: NatsServer, tmp_path: Path
) -> None:
    """INVARIANT: a tenant sees only its own."""
    async with persistence(nats_broker, tmp_path) as stand, talking(nats_broker) as talk:
        jetstream = talk.client.jetstream()
        headers = {subjects.HEADER_TENANT: "other"}
        fact = QueryAnswered(tenant="other", query_id="foreign", answered=True, citations=0, duration_ms=1)
        await jetstream.publish(subjects.QUERY_ANSWERED, encode(fact), headers=headers)
        event = b'{"query_id":"foreign","sequence":1,"type":"done","data":{}}'
        await jetstream.publish(subjects.answers("foreign"), event, headers=headers)
        await eventually(stand_is_idle(stand), "the foreign query is recorded")
        found = []
        for query_id in ("foreign", "unknown"):
            reply = await talk.rate(query_id)
            assert reply.status_code == 404
            found.append({**reply.json(), "trace_id": "", "detail": reply.json()["detail"].replace(query_id, "")})
    assert found[0] == found[1]
    assert found[0]["code"] == "query_not_found"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"rating": "meh"}, "rating"),
        ({"query_id": "a b"}, "query_id"),
        ({"comment": "x" * 4_001}, "comment"),
        ({"rating": None}, "rating"),
    ],
)
async def test_feedback_that_is_wrong_names_its_field(
    nats_broker: NatsServer, fields: dict[str, Any], field: str
) -> None:
    async with running_gateway(nats_broker) as (_, http, _):
        problem = await http.post("/v1/feedback", json={"query_id": "q", "rating": "up", **fields})
    assert (problem.status_code, problem.json()["field"]) == (422, field)
