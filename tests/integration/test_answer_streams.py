"""Streamed answers through the gateway, on a real broker and over real connections; the agent is a stand-in."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from nats.aio.msg import Msg
from nats.js.errors import APIError

from contracts import subjects
from contracts.codec import encode
from contracts.queries import Answer, AnswerEvent, AnswerEventType, AskQuestion, Citation
from shared.messaging.broker import settle
from tests.integration.gateway_stand import Stand, running_gateway, running_stand
from tests.running import eventually
from tests.servers import NatsServer
from tests.sse import Reading, reading, serving

CITATION = Citation(n=1, document_id="a", chunk_id="a-0", quote="Water boils at 100 degrees.")
ANSWER = Answer(answer="At 100 degrees [1].", answered=True, citations=[CITATION], usage={"tokens": 7.0})
NO_ANSWER = Answer(answer="The documents do not say.", answered=False)
QUESTION = {"question": "When does water boil?", "stream": True}


def event(sequence: int, kind: AnswerEventType, /, **data: Any) -> AnswerEvent:
    return AnswerEvent(query_id="", sequence=sequence, type=kind, data=data)


BEGUN = [event(1, "accepted"), event(2, "retrieval", hits=[], took_ms={}), event(3, "delta", text="At 100 ")]
REST = [
    event(4, "delta", text="degrees [1]."),
    event(5, "citations", citations=[CITATION.model_dump()]),
    event(6, "done", **ANSWER.model_dump(mode="json")),
]


@dataclass
class Streaming:
    """A stand whose gateway is served over HTTP; the agent tells what the test says, when it says it."""

    stand: Stand
    http: httpx.AsyncClient

    @asynccontextmanager
    async def asking(self, **fields: Any) -> AsyncIterator[Reading]:
        async with reading(self.http, "POST", "/v1/query", json={**QUESTION, **fields}) as stream:
            yield stream

    @asynccontextmanager
    async def resuming(
        self, last: object = None, query_id: str | None = None, http: httpx.AsyncClient | None = None
    ) -> AsyncIterator[Reading]:
        path = f"/v1/queries/{query_id or await self.query_id()}/events"
        async with reading(http or self.http, "GET", path, last_event_id=last) as stream:
            yield stream

    async def asked(self) -> tuple[AskQuestion, dict[str, str]]:
        await eventually(lambda: self.stand.agent.questions, "the question is on the queue")
        return self.stand.agent.questions[0]

    async def query_id(self) -> str:
        return (await self.asked())[0].query_id

    async def tell(self, *events: AnswerEvent) -> None:
        question, headers = await self.asked()
        for one in events:
            await self.stand.agent.tell(question.query_id, one, headers)


@asynccontextmanager
async def running_streaming(broker: NatsServer, **settings: Any) -> AsyncIterator[Streaming]:
    chosen = {"gateway_query_timeout_seconds": 20, "gateway_recheck_seconds": 0.2, **settings}
    async with running_stand(broker, **chosen) as stand, serving(stand.app) as http:
        yield Streaming(stand, http)


@pytest.fixture
async def streaming(nats_broker: NatsServer) -> AsyncIterator[Streaming]:
    async with running_streaming(nats_broker) as running:
        yield running


async def test_events_come_in_order_with_their_numbers_as_ids(streaming: Streaming) -> None:
    async with streaming.asking(conversation_id="c-1") as stream:
        assert stream.response.headers["Content-Type"].startswith("text/event-stream")
        trace_id = stream.response.headers["X-Trace-Id"]
        await streaming.tell(*BEGUN, *REST)
        events = await stream.rest()
    query_id = await streaming.query_id()
    assert [(one.id, one.type) for one in events] == [
        ("1", "accepted"),
        ("2", "retrieval"),
        ("3", "delta"),
        ("4", "delta"),
        ("5", "citations"),
        ("6", "done"),
    ]
    assert events[0].data == {"id": query_id, "trace_id": trace_id}
    assert events[1].data == {"hits": [], "took_ms": {}}
    assert "".join(one.data["text"] for one in events if one.type == "delta") == ANSWER.answer
    done = events[-1].data
    assert (done["id"], done["answer"], done["answered"], done["conversation_id"]) == (
        query_id,
        ANSWER.answer,
        True,
        "c-1",
    )
    assert done["trace_id"] == trace_id
    assert (await streaming.asked())[0].attended


async def test_the_last_event_is_the_reply_that_comes_without_streaming(streaming: Streaming) -> None:
    streaming.stand.agent.events = [*BEGUN, *REST]
    async with streaming.asking() as stream:
        done = (await stream.until("done")).data
    whole = (await streaming.http.post("/v1/query", json={**QUESTION, "stream": False})).json()
    own = ("id", "trace_id")
    assert {name: value for name, value in done.items() if name not in own} == {
        name: value for name, value in whole.items() if name not in own
    }


async def test_the_first_words_do_not_wait_for_the_next(streaming: Streaming) -> None:
    async with streaming.asking() as stream:
        await streaming.tell(*BEGUN)
        assert (await stream.until("delta")).data == {"text": "At 100 "}


async def test_a_stream_is_kept_open_by_comments(nats_broker: NatsServer) -> None:
    async with (
        running_streaming(nats_broker, gateway_heartbeat_seconds=0.05) as streaming,
        streaming.asking() as stream,
    ):
        reader = asyncio.create_task(stream.until("accepted"))
        await eventually(lambda: stream.comments >= 4, "heartbeats come while nothing happens")
        await streaming.tell(*BEGUN)
        await reader


async def test_a_reader_who_comes_back_goes_on_behind_what_it_has_read(streaming: Streaming) -> None:
    async with streaming.asking() as stream:
        await streaming.tell(*BEGUN)
        last = await stream.until("delta")
    async with streaming.resuming(last.id) as stream:
        await streaming.tell(*REST)
        assert [one.id for one in await stream.rest()] == ["4", "5", "6"]
    async with streaming.resuming() as stream:
        assert [one.id for one in await stream.rest()] == ["1", "2", "3", "4", "5", "6"]


async def test_another_replica_goes_on_with_the_same_events(streaming: Streaming) -> None:
    async with streaming.asking(collection="c") as stream:
        await streaming.tell(*BEGUN)
        accepted = await stream.until("accepted")
        last = await stream.until("delta")
    async with (
        running_gateway(streaming.stand.broker) as (_, other, _gateway),
        serving(other._transport.app) as http,  # type: ignore[attr-defined]
        streaming.resuming(last.id, http=http) as stream,
    ):
        await streaming.tell(*REST)
        events = await stream.rest()
        assert [one.id for one in events] == ["4", "5", "6"]
        assert events[-1].data["trace_id"] == accepted.data["trace_id"]
        async with streaming.resuming(0, http=http) as again:
            assert await again.next() == accepted


async def test_what_was_read_to_its_end_has_no_more_to_say(streaming: Streaming) -> None:
    streaming.stand.agent.events = [*BEGUN, *REST]
    async with streaming.asking() as stream:
        done = await stream.until("done")
    for last in (done.id, int(done.id) + 5):
        async with streaming.resuming(last) as stream:
            assert stream.response.status_code == 204
            assert await stream.response.aread() == b""


async def test_a_place_in_a_long_answer_is_found_among_other_answers(streaming: Streaming) -> None:
    async with streaming.asking():
        query_id = await streaming.query_id()
        await streaming.tell(event(1, "accepted"))
        for number in range(2, 40):
            await streaming.tell(event(number, "delta", text=str(number)))
            await streaming.stand.agent.tell(f"other-{number % 5}", event(1, "accepted"))
        await streaming.tell(event(40, "done", **ANSWER.model_dump(mode="json")))
    for last in (0, 1, 2, 17, 38, 39):
        async with streaming.resuming(last, query_id) as stream:
            assert [int(one.id) for one in await stream.rest()] == list(range(last + 1, 41))


async def test_the_answers_of_others_are_as_unknown_as_those_that_never_were(streaming: Streaming) -> None:
    """INVARIANT: a tenant sees only its own. A refusal that differed would tell which ids exist."""
    await streaming.stand.agent.tell("theirs", event(1, "accepted"), {subjects.HEADER_TENANT: "other"})
    await streaming.stand.agent.tell("kept-in-part", event(2, "delta", text="x"))
    found = []
    for query_id in ("theirs", "never-was", "kept-in-part", "no%20id", "*"):
        async with streaming.resuming(0, query_id) as stream:
            problem = json.loads(await stream.response.aread())
            shown = {**problem, "trace_id": "", "detail": problem["detail"].replace(query_id.replace("%20", " "), "ID")}
            found.append((stream.response.status_code, stream.response.headers["Content-Type"], shown))
    assert found[0][2]["code"] == "query_not_found"
    assert found == [found[0]] * 5
    assert found[0][0] == 404


async def test_an_answer_that_is_not_kept_any_more_is_not_found(streaming: Streaming) -> None:
    streaming.stand.agent.events = [*BEGUN, *REST]
    async with streaming.asking() as stream:
        await stream.rest()
    query_id = await streaming.query_id()
    purge = streaming.stand.client.jetstream().purge_stream
    await purge("ANSWERS", subject=subjects.answers(query_id), keep=2)
    async with streaming.resuming(3) as stream:
        assert stream.response.status_code == 404
    async with streaming.resuming(4) as stream:
        assert [one.id for one in await stream.rest()] == ["5", "6"]
    await purge("ANSWERS", subject=subjects.answers(query_id))
    async with streaming.resuming(4) as stream:
        assert stream.response.status_code == 404


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "٣", "9" * 30, ""])
async def test_an_event_id_that_is_none_is_refused(streaming: Streaming, last: str) -> None:
    response = await streaming.http.get(
        "/v1/queries/q/events", headers=httpx.Headers({"Last-Event-ID": last}, encoding="utf-8")
    )
    assert (response.status_code, response.json()["field"]) == (422, "Last-Event-ID")


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        ({"kind": "retryable", "code": "llm_unavailable", "message": "busy"}, 503, "llm_unavailable"),
        ({"kind": "rejected", "code": "invalid_filter", "message": "no", "field": "filter"}, 422, "invalid_filter"),
        ({"code": "strange", "message": "no"}, 502, "strange"),
    ],
)
async def test_an_error_is_told_as_the_problem_it_would_have_been(
    streaming: Streaming, data: dict[str, Any], status: int, code: str
) -> None:
    streaming.stand.agent.events = [*BEGUN, event(4, "error", **data)]
    async with streaming.asking() as stream:
        trace_id = stream.response.headers["X-Trace-Id"]
        *_, last = await stream.rest()
    assert (last.id, last.type) == ("4", "error")
    assert (last.data["status"], last.data["code"], last.data["detail"]) == (status, code, data["message"])
    assert (last.data["trace_id"], last.data.get("field")) == (trace_id, data.get("field"))


async def test_an_answer_that_breaks_its_schema_is_an_error(streaming: Streaming) -> None:
    streaming.stand.agent.events = [event(1, "accepted"), event(2, "done", answer=7)]
    async with streaming.asking() as stream:
        *_, last = await stream.rest()
    assert (last.id, last.type, last.data["status"]) == ("2", "error", 500)


async def test_an_unknown_collection_is_an_error_event_also_for_who_resumes(streaming: Streaming) -> None:
    accepted = event(1, "accepted", collection="nowhere")
    streaming.stand.agent.events = [accepted, event(2, "done", **NO_ANSWER.model_dump(mode="json"))]
    async with streaming.asking(collection="nowhere") as stream:
        *_, last = await stream.rest()
    async with streaming.resuming(1) as stream:
        *_, resumed = await stream.rest()
    for end in (last, resumed):
        assert (end.id, end.type) == ("2", "error")
        assert (end.data["status"], end.data["code"]) == (404, "collection_not_found")


async def test_an_answer_that_does_not_end_in_time_ends_its_stream(nats_broker: NatsServer) -> None:
    async with running_streaming(nats_broker, gateway_query_timeout_seconds=1) as streaming:
        async with streaming.asking() as stream:
            await streaming.tell(*BEGUN)
            *_, last = await stream.rest()
        assert (last.id, last.type, last.data["code"]) == ("3", "error", "query_timeout")
        await streaming.tell(*REST)
        async with streaming.resuming(last.id) as stream:
            assert [one.id for one in await stream.rest()] == ["4", "5", "6"]


async def test_events_whose_live_notices_are_lost_are_found_on_the_broker(
    streaming: Streaming, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = streaming.stand.service.client
    subscribe = client.subscribe

    async def subscribe_elsewhere(subject: str, *args: Any, **options: Any) -> Any:
        return await subscribe(subject + ".lost" if subject.startswith("rag.v1.told") else subject, *args, **options)

    monkeypatch.setattr(client, "subscribe", subscribe_elsewhere)
    async with streaming.asking() as stream:
        await streaming.tell(*BEGUN, *REST)
        assert [one.id for one in await stream.rest()] == ["1", "2", "3", "4", "5", "6"]


async def test_an_event_that_the_stream_refused_is_not_told(streaming: Streaming) -> None:
    """INVARIANT: effects happen once. Of two deliveries of a question only one tells its story."""
    jetstream = streaming.stand.client.jetstream()
    async with streaming.asking() as stream:
        await streaming.tell(event(1, "accepted"))
        await stream.until("accepted")
        question, headers = await streaming.asked()
        behind_nothing = {**headers, subjects.HEADER_EXPECTED_SUBJECT_SEQUENCE: "0", subjects.HEADER_MESSAGE_ID: "late"}
        refused = event(2, "delta", text="refused").model_copy(update={"query_id": question.query_id})
        with pytest.raises(APIError):
            await jetstream.publish(subjects.answers(question.query_id), encode(refused), headers=behind_nothing)
        await streaming.tell(event(2, "delta", text="stored"))
        assert (await stream.until("delta")).data == {"text": "stored"}


async def test_what_keeps_a_question_from_being_stored_is_a_problem_and_no_stream(nats_broker: NatsServer) -> None:
    async with running_gateway(nats_broker, publish_timeout_seconds=0.5) as (service, http, _gateway):
        jetstream = service.client.jetstream()
        config = (await jetstream.stream_info("QUERIES")).config
        config.max_msgs = 1
        await jetstream.update_stream(config=config)
        await jetstream.publish(subjects.QUERIES_ASK, b"{}")
        full = await http.post("/v1/query", json=QUESTION)
        nats_broker.kill()
        away = await http.post("/v1/query", json=QUESTION)
        nats_broker.start()
        await eventually(lambda: service.client.is_connected, "the gateway has found its broker again")
    assert (full.status_code, full.json()["code"]) == (503, "overloaded")
    assert away.status_code == 503
    for response in (full, away):
        assert response.headers["Content-Type"] == "application/problem+json"
        assert int(response.headers["Retry-After"]) >= 1


async def test_open_streams_are_bounded_and_a_closed_one_makes_room(nats_broker: NatsServer) -> None:
    async with running_streaming(nats_broker, gateway_max_waiting=1) as streaming:
        async with streaming.asking():
            await streaming.tell(*BEGUN)
            refused = await streaming.http.post("/v1/query", json=QUESTION)
            assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
            async with streaming.resuming(1) as stream:
                assert stream.response.status_code == 503
        seats = streaming.stand.gateway.waiting_seats
        await eventually(lambda: seats.free == 1, "the reader who left gives its seat back")
        assert not streaming.stand.gateway.answer_streams._feeds


async def test_as_long_as_somebody_reads_the_agent_hears_of_it(nats_broker: NatsServer) -> None:
    heard: list[str] = []

    async def hear(message: Msg) -> None:
        heard.append(message.subject)

    async with running_streaming(nats_broker, gateway_listening_seconds=0.1) as streaming:
        await streaming.stand.client.subscribe(subjects.LISTENING_ALL, cb=hear)
        await settle(streaming.stand.client)
        async with streaming.asking():
            await streaming.tell(*BEGUN)
            await eventually(lambda: len(heard) >= 3, "it is said again and again")
        assert set(heard) == {subjects.listening(await streaming.query_id())}
        await eventually(lambda: not streaming.stand.gateway.answer_streams._feeds, "the gateway sees the reader go")
        before = len(heard)
        async with streaming.resuming(1):
            await eventually(lambda: len(heard) > before, "one who comes back is heard at once")
