"""Search and questions through the gateway, on a real broker; retriever and agent are stand-ins."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from contracts import subjects
from contracts.codec import encode
from contracts.queries import Answer, AnswerEvent, AnswerEventType, Citation
from shared.errors import DeadlineExpired, Overloaded, Rejected, Unavailable
from tests.integration.gateway_stand import Stand, chunk, document, running_gateway, running_stand
from tests.running import eventually
from tests.servers import NatsServer

CITATION = Citation(n=1, document_id="a", chunk_id="a-0", quote="Water boils at 100 degrees.")
ANSWER = Answer(answer="At 100 degrees [1].", answered=True, citations=[CITATION], usage={"tokens": 7.0})
NO_ANSWER = Answer(answer="The documents do not say.", answered=False)


@pytest.fixture
async def stand(nats_broker: NatsServer) -> AsyncIterator[Stand]:
    async with running_stand(nats_broker, gateway_query_timeout_seconds=3, gateway_recheck_seconds=0.1) as running:
        yield running


def event(sequence: int, kind: AnswerEventType, data: dict[str, Any] | None = None) -> AnswerEvent:
    return AnswerEvent(query_id="", sequence=sequence, type=kind, data=data or {})


def done(answer: Answer, sequence: int = 3) -> AnswerEvent:
    return event(sequence, "done", answer.model_dump(mode="json"))


async def test_a_search_returns_the_hits_of_the_retriever(stand: Stand) -> None:
    stand.retriever.hits = [
        chunk(title="Water", uri="https://x/y", metadata={"year": 2026}, page=3, heading_path=("Boiling",), ordinal=7),
        chunk("b"),
    ]
    query = {"query": "boiling", "collection": "c", "top_k": 5, "filter": {"year": {"gte": 2020}}, "more": 1}
    response = await stand.http.post("/v1/search", json=query)
    found = response.json()
    assert response.status_code == 200
    assert found["hits"][0] == {
        "document_id": "a",
        "chunk_id": "a-0",
        "collection": "default",
        "title": "Water",
        "uri": "https://x/y",
        "text": "Water boils at 100 degrees.",
        "score": 0.5,
        "metadata": {"year": 2026},
        "heading_path": ["Boiling"],
        "ordinal": 7,
        "page": 3,
    }
    assert "page" not in found["hits"][1]
    assert found["trace_id"] == response.headers["X-Trace-Id"]
    assert {"embed", "search", "gateway", "total"} <= found["took_ms"].keys()
    [asked] = stand.retriever.requests
    assert (asked.tenant, asked.query, asked.collection, asked.top_k) == ("default", "boiling", "c", 5)
    assert asked.filter == {"year": {"gte": 2020}}
    assert (asked.mode, asked.rerank, "reranked" in found) == ("hybrid", False, False)


@pytest.mark.parametrize("in_time", [True, False])
async def test_a_search_says_whether_it_was_reranked(stand: Stand, in_time: bool) -> None:
    stand.retriever.reranked = in_time
    response = await stand.http.post("/v1/search", json={"query": "boiling", "mode": "sparse", "rerank": True})
    [asked] = stand.retriever.requests
    assert (asked.mode, asked.rerank) == ("sparse", True)
    assert response.json()["reranked"] is in_time


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({}, "query", "invalid_request"),
        ({"query": ""}, "query", "invalid_request"),
        ({"query": " \n"}, "query", "invalid_request"),
        ({"query": "x" * 8001}, "query", "invalid_request"),
        ({"query": "x", "top_k": 0}, "top_k", "invalid_request"),
        ({"query": "x", "top_k": 101}, "top_k", "invalid_request"),
        ({"query": "x", "filter": []}, "filter", "invalid_request"),
        ({"query": "x", "collection": "../x"}, "collection", "invalid_request"),
        ({"query": "x", "mode": "magic"}, "mode", "invalid_request"),
        ({"query": "x", "rerank": "yes"}, "rerank", "invalid_request"),
    ],
)
async def test_a_wrong_search_is_refused_by_its_field(stand: Stand, body: object, field: str, code: str) -> None:
    response = await stand.http.post("/v1/search", json=body)
    assert (response.status_code, response.json()["field"], response.json()["code"]) == (422, field, code)
    assert response.headers["Content-Type"] == "application/problem+json"
    assert stand.retriever.requests == []


async def test_a_query_of_8000_characters_is_allowed(stand: Stand) -> None:
    assert (await stand.http.post("/v1/search", json={"query": "x" * 8000})).status_code == 200


async def test_searching_a_collection_that_does_not_exist_says_so(stand: Stand) -> None:
    response = await stand.http.post("/v1/search", json={"query": "x", "collection": "nowhere"})
    assert (response.status_code, response.json()["code"]) == (404, "collection_not_found")
    assert response.json()["field"] == "collection"


async def test_searching_everything_or_a_known_collection_may_find_nothing(stand: Stand) -> None:
    await stand.http.post("/v1/documents", json={"documents": [document(collection="c")]})
    await eventually(lambda: "a" in stand.persistence.documents, "the document is recorded")
    for body in ({"query": "x"}, {"query": "x", "collection": "c"}):
        response = await stand.http.post("/v1/search", json=body)
        assert (response.status_code, response.json()["hits"]) == (200, [])


async def test_a_collection_exists_from_its_first_accepted_document_on(stand: Stand) -> None:
    stand.persistence.recording.clear()
    await stand.http.post("/v1/documents", json={"documents": [document(collection="new")]})
    response = await stand.http.post("/v1/search", json={"query": "x", "collection": "new"})
    assert (response.status_code, response.json()["hits"]) == (200, [])


@pytest.mark.parametrize(
    ("failure", "status", "code", "field"),
    [
        (
            Rejected("`year` takes numbers", code="invalid_filter", field="filter.year"),
            422,
            "invalid_filter",
            "filter.year",
        ),
        (Unavailable("the index is away"), 503, "dependency_unavailable", None),
        (Overloaded("too many requests"), 503, "overloaded", None),
        (DeadlineExpired("too late"), 504, "deadline_expired", None),
        (KeyError("secret"), 500, "internal_error", None),
    ],
)
async def test_what_the_retriever_says_reaches_the_caller(
    stand: Stand, failure: Exception, status: int, code: str, field: str | None
) -> None:
    stand.retriever.failure = failure
    with capture_logs():
        response = await stand.http.post("/v1/search", json={"query": "x"})
    problem = response.json()
    assert (response.status_code, problem["code"], problem.get("field")) == (status, code, field)
    assert ("Retry-After" in response.headers) == (status == 503)
    assert problem["trace_id"] == response.headers["X-Trace-Id"]
    assert "secret" not in response.text


async def test_without_a_retriever_a_search_is_to_be_tried_again(nats_broker: NatsServer) -> None:
    async with running_gateway(nats_broker) as (_, http, _gateway):
        response = await http.post("/v1/search", json={"query": "x"})
    assert (response.status_code, response.headers["Retry-After"]) == (503, "2")
    assert "rag.v1.retrieve" in response.json()["detail"]


async def test_a_question_gets_the_answer_of_the_agent(stand: Stand) -> None:
    stand.agent.events = [event(1, "accepted"), event(2, "retrieval", {"hits": 1}), done(ANSWER)]
    response = await stand.http.post("/v1/query", json={"question": "When does water boil?", "conversation_id": "c-1"})
    found = response.json()
    assert response.status_code == 200
    assert (found["answer"], found["answered"], found["usage"]) == ("At 100 degrees [1].", True, {"tokens": 7.0})
    assert found["citations"] == [CITATION.model_dump(mode="json")]
    assert found["citations"][0]["quote"] == "Water boils at 100 degrees."
    assert (found["steps"], found["cached"], found["conversation_id"]) == ([], False, "c-1")
    assert found["trace_id"] == response.headers["X-Trace-Id"]
    [(asked, headers)] = stand.agent.questions
    assert (asked.query_id, asked.question, asked.mode) == (found["id"], "When does water boil?", "rag")
    assert headers["Nats-Msg-Id"] == found["id"]
    assert int(headers["Rag-Deadline"]) > 0


@pytest.mark.parametrize(
    "events",
    [
        [done(ANSWER, 4), event(3, "delta"), event(2, "retrieval"), event(1, "accepted")],
        [event(1, "accepted"), event(1, "accepted"), event(2, "delta"), event(2, "delta"), done(ANSWER), done(ANSWER)],
        [event(1, "accepted"), event(2, "delta"), event(3, "delta"), event(1, "accepted"), done(ANSWER, 2)],
    ],
    ids=["out of order", "twice", "started again by another agent"],
)
async def test_an_answer_survives_the_disorder_of_its_events(stand: Stand, events: list[AnswerEvent]) -> None:
    stand.agent.events = events
    response = await stand.http.post("/v1/query", json={"question": "When does water boil?"})
    assert response.json()["answer"] == "At 100 degrees [1]."


async def test_an_answer_whose_notice_got_lost_is_found_on_the_broker(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribe = stand.service.client.subscribe

    async def subscribe_elsewhere(subject: str, *args: Any, **options: Any) -> Any:
        return await subscribe(subject + ".lost" if subject.startswith("rag.v1.answers") else subject, *args, **options)

    monkeypatch.setattr(stand.service.client, "subscribe", subscribe_elsewhere)
    stand.agent.events = [event(1, "accepted"), done(ANSWER)]
    response = await stand.http.post("/v1/query", json={"question": "When does water boil?"})
    assert response.json()["answer"] == "At 100 degrees [1]."


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        ({"kind": "retryable", "code": "overloaded", "message": "busy", "retry_after_seconds": 3.0}, 503, "overloaded"),
        ({"kind": "rejected", "code": "invalid_filter", "message": "no", "field": "filter"}, 422, "invalid_filter"),
        ({"kind": "expired", "code": "deadline_expired", "message": "late"}, 504, "deadline_expired"),
        ({"kind": "fault", "code": "internal_error", "message": "broken"}, 500, "internal_error"),
        ({"code": "llm_refused", "message": "no"}, 502, "llm_refused"),
        ({}, 502, "query_failed"),
    ],
)
async def test_an_error_of_the_agent_is_a_problem(stand: Stand, data: dict[str, Any], status: int, code: str) -> None:
    stand.agent.events = [event(1, "accepted"), event(2, "error", data)]
    with capture_logs():
        response = await stand.http.post("/v1/query", json={"question": "When does water boil?"})
    assert (response.status_code, response.json()["code"]) == (status, code)


async def test_an_answer_that_does_not_come_in_time_is_a_timeout(nats_broker: NatsServer) -> None:
    async with running_gateway(nats_broker, gateway_query_timeout_seconds=0.3) as (_, http, _gateway):
        response = await http.post("/v1/query", json={"question": "When does water boil?"})
    assert (response.status_code, response.json()["code"]) == (504, "query_timeout")


async def test_events_that_cannot_be_read_are_passed_over(stand: Stand) -> None:
    asking = asyncio.create_task(stand.http.post("/v1/query", json={"question": "When does water boil?"}))
    await eventually(lambda: stand.agent.questions, "the question is on the queue")
    subject = subjects.answers(stand.agent.questions[0][0].query_id)
    await stand.client.publish(subject, b"not json")
    await stand.client.publish(subject, encode(done(ANSWER, 1)))
    assert (await asking).json()["answered"] is True


async def test_a_question_to_a_collection_that_does_not_exist_says_so(stand: Stand) -> None:
    stand.agent.events = [done(NO_ANSWER)]
    response = await stand.http.post("/v1/query", json={"question": "When?", "collection": "nowhere"})
    assert (response.status_code, response.json()["code"]) == (404, "collection_not_found")
    unanswered = await stand.http.post("/v1/query", json={"question": "When?"})
    assert (unanswered.status_code, unanswered.json()["answered"]) == (200, False)


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({"question": ""}, "question", "invalid_request"),
        ({"question": "x" * 8001}, "question", "invalid_request"),
        ({"question": "x", "conversation_id": "a b"}, "conversation_id", "invalid_request"),
        ({"question": "x", "stream": "yes"}, "stream", "invalid_request"),
        ({"question": "x", "mode": "oracle"}, "mode", "invalid_request"),
    ],
)
async def test_a_wrong_question_is_refused_by_its_field(stand: Stand, body: object, field: str, code: str) -> None:
    response = await stand.http.post("/v1/query", json=body)
    assert (response.status_code, response.json()["field"], response.json()["code"]) == (422, field, code)


async def test_more_callers_than_may_wait_are_turned_away(nats_broker: NatsServer) -> None:
    bounds = {"gateway_max_waiting": 2, "gateway_query_timeout_seconds": 0.5}
    async with running_gateway(nats_broker, **bounds) as (_, http, _gateway):
        asked = await asyncio.gather(*(http.post("/v1/query", json={"question": "When?"}) for _ in range(5)))
    assert sorted(response.status_code for response in asked) == [503, 503, 503, 504, 504]


async def test_a_full_queue_of_questions_turns_callers_away_at_once(nats_broker: NatsServer) -> None:
    async with running_gateway(nats_broker, gateway_query_timeout_seconds=2) as (service, http, _gateway):
        jetstream = service.client.jetstream()
        config = (await jetstream.stream_info("QUERIES")).config
        config.max_msgs = 2
        await jetstream.update_stream(config=config)
        asked = await asyncio.gather(*(http.post("/v1/query", json={"question": "When?"}) for _ in range(5)))
        held = (await jetstream.stream_info("QUERIES")).state.messages
    refused = [response for response in asked if response.status_code == 503]
    assert sorted(response.status_code for response in asked) == [503, 503, 503, 504, 504]
    assert {response.json()["code"] for response in refused} == {"overloaded"}
    assert all(int(response.headers["Retry-After"]) >= 1 for response in refused)
    assert held == 2, "a refused question does not wait in the queue"
