"""Streamed answers through the gateway, on a real broker and over real connections; the agent is a stand-in."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from contracts.queries import Answer, AnswerEvent, AnswerEventType, AskQuestion, Citation
from tests.integration.gateway_stand import Stand, running_stand
from tests.running import eventually
from tests.servers import NatsServer
from tests.sse import Reading, reading, serving

CITATION = Citation(n=1, document_id="a", chunk_id="a-0", quote="Water boils at 100 degrees.")
ANSWER = Answer(answer="At 100 degrees [1].", answered=True, citations=[CITATION], usage={"tokens": 7.0})
NO_ANSWER = Answer(answer="The documents do not say.", answered=False)
QUESTION = {"question": "When does water boil?", "stream": True}
PATIENCE_SECONDS = 10.0


def event(sequence: int, kind: AnswerEventType, **data: Any) -> AnswerEvent:
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
    told: int = 0

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
