"""The agent on a real nats-server: what a caller gets, also when things come twice and when parts are away."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from nats.aio.client import Client
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import NoOpTracerProvider

from contracts import subjects
from contracts.codec import decode, encode
from contracts.facts import FACT_TYPES, QueryAnswered, QueryFailed
from contracts.messages import Fact
from contracts.queries import Answer, AnswerEvent
from contracts.retrieval import EmbedReply, EmbedRequest, RetrieveReply, RetrieveRequest
from services.agent.app import build_lifespan
from services.agent.events import Told
from services.agent.settings import AgentSettings
from shared.messaging.broker import settle
from shared.messaging.requests import respond
from shared.metrics import MessagingMetrics
from shared.service import Service
from tests.running import client_of, eventually, running_service, stored
from tests.scripted_llm import Reply, scripted_llm
from tests.servers import NatsServer
from tests.unit.agent.library import Library, question_of

TRACER = NoOpTracerProvider().get_tracer("test")
METRICS = MessagingMetrics(NoOpMeterProvider().get_meter("test"))
TEXT = "When did the harbour of Lindby open?"
WRITTEN = "The harbour of Lindby opened in 1887 [1]."
DONE = ["accepted", "retrieval", "delta", "citations", "done"]


@asynccontextmanager
async def agent(server: NatsServer, **settings: Any) -> AsyncIterator[Service]:
    chosen = AgentSettings(nats_url=server.url, **{"drain_seconds": 5, "agent_patience_seconds": 1, **settings})
    async with running_service("agent", chosen, build_lifespan(chosen)) as service:
        yield service


async def serve_retrieval(client: Client, retrieve: Any) -> None:
    await respond(client, TRACER, METRICS, subjects.RETRIEVE, RetrieveRequest, retrieve, queue="r", concurrency=8)
    await settle(client)


async def serve_embedding(client: Client, embed: Any) -> None:
    await respond(client, TRACER, METRICS, subjects.EMBED_QUERY, EmbedRequest, embed, queue="e", concurrency=8)
    await settle(client)


async def serve(client: Client, library: Library) -> None:
    await serve_retrieval(client, library.retrieve)
    await serve_embedding(client, library.embed)


async def publish(client: Client, *, copy: int = 0, seconds: float = 30.0, **fields: Any) -> None:
    question = question_of(TEXT, **fields)
    headers = {
        subjects.HEADER_TENANT: question.tenant,
        subjects.HEADER_DEADLINE: str(int((time.time() + seconds) * 1000)),
        subjects.HEADER_MESSAGE_ID: f"{question.query_id}/{copy}",
    }
    await client.jetstream().publish(subjects.QUERIES_ASK, encode(question), headers=headers)


async def events_of(client: Client, query_id: str = "q1") -> list[AnswerEvent]:
    wanted = subjects.answers(query_id)
    return [decode(AnswerEvent, msg.data) for msg in await stored(client, "ANSWERS") if msg.subject == wanted]


async def facts_of(client: Client) -> list[Fact]:
    return [decode(FACT_TYPES[msg.subject], msg.data) for msg in await stored(client, "FACTS")]


async def settled(client: Client) -> bool:
    """Tell whether no question waits or is in work."""
    return (await client.jetstream().stream_info("QUERIES")).state.messages == 0


async def end_of(client: Client, query_id: str = "q1") -> AnswerEvent:
    async def last() -> AnswerEvent | None:
        events = await events_of(client, query_id)
        return events[-1] if events and events[-1].terminal else None

    found = await eventually(last, f"{query_id} has ended")
    assert found is not None
    return found


async def test_a_question_is_answered_with_citations(nats_broker: NatsServer) -> None:
    async with client_of(nats_broker.url) as client, agent(nats_broker):
        await serve(client, Library())
        await publish(client)
        answer = Answer.model_validate((await end_of(client)).data)
        await eventually(lambda: settled(client), "the question is acknowledged")
        events, facts = await events_of(client), await facts_of(client)
    assert answer.answered
    assert answer.citations[0].quote == "The harbour of Lindby opened in 1887."
    assert [event.type for event in events] == DONE
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5]
    (fact,) = facts
    assert isinstance(fact, QueryAnswered)
    assert (fact.tenant, fact.query_id, fact.citations) == ("acme", "q1", len(answer.citations))


async def test_what_the_documents_do_not_answer_is_not_answered(nats_broker: NatsServer) -> None:
    async with client_of(nats_broker.url) as client, agent(nats_broker):
        await serve(client, Library())
        await publish(client, question="Which enzyme unwinds DNA during replication?")
        answer = Answer.model_validate((await end_of(client)).data)
    assert (answer.answered, answer.citations) == (False, [])


async def test_a_question_that_comes_twice_is_told_once(nats_broker: NatsServer) -> None:
    """INVARIANT: effects happen once. Without a place behind the event before, each copy would tell its own story."""
    async with client_of(nats_broker.url) as client, agent(nats_broker):
        await serve(client, Library())
        for copy in range(2):
            for number in range(5):
                await publish(client, copy=copy, query_id=f"q{number}")
        await eventually(lambda: settled(client), "every copy is acknowledged")
        for number in range(5):
            assert [event.type for event in await events_of(client, f"q{number}")] == DONE
        assert len(await facts_of(client)) == 5


async def test_a_question_whose_agent_stops_half_way_is_answered_by_the_next(nats_broker: NatsServer) -> None:
    library, reached, release = Library(), asyncio.Event(), asyncio.Event()

    async def held(request: EmbedRequest, deadline: float | None) -> EmbedReply:
        reached.set()
        await release.wait()
        return await library.embed(request, deadline)

    async with client_of(nats_broker.url) as client:
        await serve_retrieval(client, library.retrieve)
        await serve_embedding(client, held)
        async with agent(nats_broker, drain_seconds=0.2):
            await publish(client)
            await asyncio.wait_for(reached.wait(), timeout=10)
        assert [event.type for event in await events_of(client)] == DONE[:2]
        release.set()
        async with agent(nats_broker):
            assert (await end_of(client)).type == "done"
        assert [event.type for event in await events_of(client)] == DONE


@pytest.mark.parametrize("away", ["retriever", "embedder"])
async def test_a_part_that_is_away_is_reported_within_seconds(nats_broker: NatsServer, away: str) -> None:
    patience = AgentSettings().agent_patience_seconds
    async with client_of(nats_broker.url) as client, agent(nats_broker, agent_patience_seconds=patience):
        if away == "embedder":
            await serve_retrieval(client, Library().retrieve)
        started = time.monotonic()
        await publish(client)
        end = await end_of(client)
        assert time.monotonic() - started < 5
        await eventually(lambda: settled(client), "the question is acknowledged")
        (fact,) = await facts_of(client)
        assert await stored(client, "DEAD") == []
    assert (end.type, end.data["code"], end.data["kind"]) == ("error", "dependency_unavailable", "retryable")
    assert isinstance(fact, QueryFailed)
    assert fact.code == "dependency_unavailable"


async def test_a_retriever_that_comes_back_in_time_is_not_even_noticed(nats_broker: NatsServer) -> None:
    async with client_of(nats_broker.url) as client, agent(nats_broker, agent_patience_seconds=10):
        await publish(client)
        await eventually(lambda: events_of(client), "the question is in work")
        await serve(client, Library())
        assert (await end_of(client)).type == "done"


async def test_a_retriever_that_hangs_is_reported_when_the_patience_of_requests_ends(nats_broker: NatsServer) -> None:
    async def hang(_request: RetrieveRequest, _deadline: float | None) -> RetrieveReply:
        await asyncio.Event().wait()
        raise AssertionError

    async with client_of(nats_broker.url) as client, agent(nats_broker, request_timeout_seconds=0.5):
        await serve_retrieval(client, hang)
        await publish(client)
        end = await end_of(client)
    assert (end.type, end.data["code"]) == ("error", "dependency_unavailable")


async def test_the_deadline_travels_on(nats_broker: NatsServer) -> None:
    library, seen = Library(), list[float]()

    async def watch(request: RetrieveRequest, deadline: float | None) -> RetrieveReply:
        seen.append(deadline or 0.0)
        return await library.retrieve(request, deadline)

    async with client_of(nats_broker.url) as client, agent(nats_broker):
        await serve_retrieval(client, watch)
        await serve_embedding(client, library.embed)
        deadline = time.time() + 4
        await publish(client, seconds=4)
        await end_of(client)
    assert seen == [pytest.approx(deadline, abs=0.2)]


async def test_an_expired_question_is_dropped_unanswered(nats_broker: NatsServer) -> None:
    async with client_of(nats_broker.url) as client, agent(nats_broker):
        await serve(client, Library())
        await publish(client, seconds=-1)
        await eventually(lambda: settled(client), "the question is gone")
        assert await events_of(client) == []
        assert await facts_of(client) == []
        assert await stored(client, "DEAD") == []


async def test_a_fault_ends_as_an_error_for_the_caller_and_as_a_dead_letter(nats_broker: NatsServer) -> None:
    library = Library()

    async def broken(request: EmbedRequest, deadline: float | None) -> EmbedReply:
        reply = await library.embed(request, deadline)
        return reply.model_copy(update={"vectors": reply.vectors[:1]})

    async with client_of(nats_broker.url) as client, agent(nats_broker):
        await serve_retrieval(client, library.retrieve)
        await serve_embedding(client, broken)
        await publish(client)
        end = await end_of(client)
        await eventually(lambda: settled(client), "the question is a dead letter")
        (dead,) = await stored(client, "DEAD")
        assert [event.type for event in await events_of(client)] == ["accepted", "retrieval", "error"]
    assert end.data["code"] == "internal_error"
    assert dead.headers is not None
    assert dead.headers[subjects.HEADER_DEAD_CODE] == "internal_error"


async def test_the_first_token_leaves_before_the_second_comes(nats_broker: NatsServer) -> None:
    with scripted_llm() as endpoint:
        endpoint.script.append(Reply(text=WRITTEN, gap=30.0))
        async with client_of(nats_broker.url) as client, agent(nats_broker, llm_base_url=endpoint.url):
            await serve(client, Library())
            await publish(client)
            events = await eventually(lambda: _with_delta(client), "the first delta is out")
            assert [event.data["text"] for event in events if event.type == "delta"] == ["The"]
            assert len(endpoint.requests) == 1


async def _with_delta(client: Client) -> list[AnswerEvent]:
    events = await events_of(client)
    return events if any(event.type == "delta" for event in events) else []


async def test_a_language_model_s_answer_is_cited_word_for_word(nats_broker: NatsServer) -> None:
    with scripted_llm() as endpoint:
        endpoint.script.append(Reply(text=f"{WRITTEN} [8]", usage=(321, 12)))
        settings = {"llm_base_url": endpoint.url, "llm_output_price": 1000.0}
        async with client_of(nats_broker.url) as client, agent(nats_broker, **settings):
            await serve(client, Library())
            await publish(client)
            answer = Answer.model_validate((await end_of(client)).data)
            texts = [event.data["text"] for event in await events_of(client) if event.type == "delta"]
    assert (answer.answered, answer.answer) == (True, WRITTEN)
    assert "".join(texts) == WRITTEN
    assert [citation.quote for citation in answer.citations] == ["The harbour of Lindby opened in 1887."]
    assert answer.usage == {
        "input_tokens": 321,
        "output_tokens": 12,
        "llm_calls": 1,
        "cost": 0.012,
        "invented_markers": 1,
    }


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(status=500), "llm_unavailable"),
        (Reply(status=429, headers={"Retry-After": "50"}), "llm_rate_limited"),
        (Reply(status=400, error={"code": "context_length_exceeded"}), "context_too_long"),
        (Reply(status=400), "llm_refused"),
        (Reply(text="The harbour of", cut_after=2), "llm_unavailable"),
    ],
)
async def test_a_failing_language_model_is_a_clear_problem(nats_broker: NatsServer, reply: Reply, code: str) -> None:
    with scripted_llm() as endpoint:
        endpoint.default = lambda _request: reply
        settings = {"llm_base_url": endpoint.url, "llm_attempts": 2}
        async with client_of(nats_broker.url) as client, agent(nats_broker, **settings):
            await serve(client, Library())
            await publish(client)
            end = await end_of(client)
            await eventually(lambda: settled(client), "the question is acknowledged")
            assert await stored(client, "DEAD") == []
    assert (end.type, end.data["code"]) == ("error", code)


async def test_a_question_whose_agent_stops_while_writing_is_written_by_the_next(nats_broker: NatsServer) -> None:
    """INVARIANT: accepted is durable: what the caller has read is gone on with, or taken back in words."""
    with scripted_llm() as endpoint:
        endpoint.script.extend([Reply(text="The harbour is old [1].", gap=0.5), Reply(text=WRITTEN)])
        settings = {"llm_base_url": endpoint.url, "drain_seconds": 0.2}
        async with client_of(nats_broker.url) as client:
            await serve(client, Library())
            async with agent(nats_broker, **settings):
                await publish(client)
                await eventually(lambda: _with_delta(client), "the first one has begun")
            async with agent(nats_broker, **settings):
                answer = Answer.model_validate((await end_of(client)).data)
            events = await events_of(client)
    assert Told(tuple(events)).text == answer.answer == WRITTEN
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert [event.type for event in events].count("done") == 1
