"""Streamed chats as the official client of OpenAI's API reads them: a real broker, a gateway on a port, real agents."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai import AsyncStream
from openai.types.chat import ChatCompletionChunk

from contracts import subjects
from contracts.codec import encode
from contracts.queries import Answer, AnswerEvent, AnswerEventType
from tests.integration.gateway_stand import Agent
from tests.integration.openai_stand import Stand, real_agent, running_stand, scripted_agent
from tests.running import eventually
from tests.scripted_llm import Reply, scripted_llm
from tests.servers import NatsServer

QUESTION: Any = [{"role": "user", "content": "When did the harbour of Lindby open?"}]
ANSWER = Answer(answer="In 1887.", answered=True, usage={"input_tokens": 9.0, "output_tokens": 3.0})
WRITTEN = "The harbour of Lindby opened in 1887 [1]."
NOTES = "\n\n[1] Harbour — https://lindby.example/harbour"
Stream = AsyncStream[ChatCompletionChunk]


@pytest.fixture
async def stand(nats_broker: NatsServer) -> AsyncIterator[Stand]:
    bounds = {"gateway_query_timeout_seconds": 5, "gateway_recheck_seconds": 0.2}
    async with running_stand(nats_broker, **bounds) as running:
        yield running


@pytest.fixture
async def agent(stand: Stand) -> AsyncIterator[Agent]:
    async with scripted_agent(stand) as running:
        yield running


def event(sequence: int, kind: AnswerEventType, data: dict[str, Any] | None = None) -> AnswerEvent:
    return AnswerEvent(query_id="", sequence=sequence, type=kind, data=data or {})


def delta(sequence: int, text: str) -> AnswerEvent:
    return event(sequence, "delta", {"text": text})


def done(sequence: int) -> AnswerEvent:
    return event(sequence, "done", ANSWER.model_dump())


async def tell(stand: Stand, agent: Agent, *events: AnswerEvent) -> None:
    """Publish more events of the only question."""
    [(asked, _)] = agent.questions
    for told in events:
        named = told.model_copy(update={"query_id": asked.query_id})
        await stand.nats.jetstream().publish(subjects.answers(asked.query_id), encode(named))


async def ask(stand: Stand, **request: Any) -> Stream:
    asked: Any = {"model": "rag", "messages": QUESTION, **request}
    stream: Stream = await stand.client.chat.completions.create(**asked, stream=True)
    return stream


async def text_of(stream: Stream) -> str:
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])


async def test_a_stream_brings_the_text_then_its_sources(stand: Stand, nats_broker: NatsServer) -> None:
    async with real_agent(nats_broker):
        chunks = [chunk async for chunk in await ask(stand)]
    deltas: list[Any] = [chunk.choices[0].delta for chunk in chunks]
    assert deltas[0].role == "assistant"
    assert "".join(part.content or "" for part in deltas).startswith("The harbour of Lindby opened in 1887. [1]")
    assert deltas[-2].content.startswith(NOTES)
    assert deltas[-1].answered is True
    assert deltas[-1].citations[0]["quote"] == "The harbour of Lindby opened in 1887."
    assert [chunk.choices[0].finish_reason for chunk in chunks][-2:] == [None, "stop"]
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)


async def test_the_first_words_come_while_the_language_model_still_writes(
    stand: Stand, nats_broker: NatsServer
) -> None:
    with scripted_llm() as endpoint:
        endpoint.script.append(Reply(text=WRITTEN, gap=0.2, usage=(321, 12)))
        async with real_agent(nats_broker, llm_base_url=endpoint.url, llm_delta_seconds=0):
            stream = await ask(stand, stream_options={"include_usage": True})
            clock = asyncio.get_running_loop().time
            arrivals: list[tuple[float, ChatCompletionChunk]] = [(clock(), chunk) async for chunk in stream]
    texts = [(at, chunk.choices[0].delta.content) for at, chunk in arrivals if chunk.choices]
    said = [(at, text) for at, text in texts if text]
    assert "".join(text for _, text in said) == WRITTEN + NOTES
    assert said[-1][0] - said[0][0] > 0.5, "the words came one after the other"
    usage = arrivals[-1][1].usage
    assert usage is not None
    assert (arrivals[-1][1].choices, usage.prompt_tokens, usage.completion_tokens) == ([], 321, 12)


async def test_the_client_s_own_helper_puts_an_answer_together(stand: Stand, nats_broker: NatsServer) -> None:
    async with real_agent(nats_broker), stand.client.chat.completions.stream(model="rag", messages=QUESTION) as stream:
        completion = await stream.get_final_completion()
    message: Any = completion.choices[0].message
    assert message.content.startswith("The harbour of Lindby opened in 1887. [1]")
    assert message.answered is True
    assert message.citations[0]["document_id"] == "harbour"


@pytest.mark.parametrize(
    ("data", "kind", "code"),
    [
        (
            {"kind": "retryable", "code": "llm_unavailable", "message": "gone"},
            openai.InternalServerError,
            "llm_unavailable",
        ),
        ({"kind": "rejected", "code": "invalid_filter", "message": "no"}, openai.BadRequestError, "invalid_filter"),
    ],
)
async def test_a_failure_before_the_first_word_has_its_status(
    stand: Stand, agent: Agent, data: dict[str, Any], kind: type[openai.APIStatusError], code: str
) -> None:
    agent.events = [event(1, "accepted"), event(2, "retrieval", {"hits": [{}]}), event(3, "error", data)]
    with pytest.raises(kind) as caught:
        await ask(stand)
    assert caught.value.code == code


async def test_a_failure_after_the_first_word_is_raised_by_the_client(stand: Stand, agent: Agent) -> None:
    failure = {"kind": "retryable", "code": "llm_unavailable", "message": "the endpoint is gone"}
    agent.events = [event(1, "accepted"), delta(2, "In 18"), event(3, "error", failure)]
    stream = await ask(stand)
    assert [(await anext(stream)).choices[0].delta.content for _ in range(2)] == ["", "In 18"]
    with pytest.raises(openai.APIError, match="the endpoint is gone") as caught:
        await anext(stream)
    assert (caught.value.code, caught.value.type) == ("llm_unavailable", "server_error")


async def test_an_answer_that_begins_anew_ends_the_stream_with_an_error(stand: Stand, agent: Agent) -> None:
    agent.events = [event(1, "accepted"), delta(2, "In 18"), event(3, "step", {"kind": "restarted"}), delta(4, "In")]
    with pytest.raises(openai.APIError, match="ask again") as caught:
        await text_of(await ask(stand))
    assert caught.value.code == "answer_restarted"


async def test_a_client_that_leaves_frees_its_place(stand: Stand, agent: Agent) -> None:
    seats = stand.app.state.gateway.waiting_seats
    agent.events = [event(1, "accepted"), delta(2, "In 18")]
    stream = await ask(stand)
    await anext(stream)
    assert seats.free == 999
    await stream.close()
    await eventually(lambda: seats.free == 1000, "the place is free")


async def test_a_client_that_leaves_before_the_first_word_frees_its_place(stand: Stand) -> None:
    seats = stand.app.state.gateway.waiting_seats
    stand.embedder_open.clear()
    calls = [
        ask(stand),
        stand.client.chat.completions.create(model="rag", messages=QUESTION),
        stand.client.embeddings.create(model="default", input="x"),
    ]
    leaving = [asyncio.create_task(call) for call in calls]
    await eventually(lambda: seats.free == 997, "all wait")
    for task in leaving:
        task.cancel()
    await eventually(lambda: seats.free == 1000, "every place is free", seconds=3)


async def test_heartbeats_keep_a_silent_stream_open(nats_broker: NatsServer) -> None:
    async with (
        running_stand(nats_broker, gateway_heartbeat_seconds=0.1, gateway_query_timeout_seconds=5) as stand,
        scripted_agent(stand) as agent,
    ):
        agent.events = [event(1, "accepted")]
        stream = await ask(stand)
        reading = asyncio.create_task(text_of(stream))
        await tell(stand, agent, delta(2, "In 1887."), done(3))
        assert await reading == "In 1887."
        assert stream.response.headers["content-type"].startswith("text/event-stream")


async def test_on_the_wire_a_stream_is_data_comments_and_a_last_word(nats_broker: NatsServer) -> None:
    async with (
        running_stand(nats_broker, gateway_heartbeat_seconds=0.1, gateway_query_timeout_seconds=5) as stand,
        scripted_agent(stand) as agent,
    ):
        agent.events = [event(1, "accepted")]
        body = {"model": "rag", "messages": QUESTION, "stream": True}
        async with stand.http.stream("POST", "/v1/chat/completions", json=body) as response:
            lines = response.aiter_lines()
            assert await anext(lines) == ": still here"
            await tell(stand, agent, done(2))
            rest = [line async for line in lines if line and not line.startswith(":")]
    assert all(line.startswith("data: ") for line in rest)
    assert rest[-1] == "data: [DONE]"
    assert response.headers["cache-control"] == "no-store"


async def test_a_stream_from_a_collection_that_does_not_exist_is_not_found(
    stand: Stand, nats_broker: NatsServer
) -> None:
    stand.library.texts = {}
    async with real_agent(nats_broker):
        with pytest.raises(openai.NotFoundError) as caught:
            await ask(stand, model="rag:nowhere")
        assert await text_of(await ask(stand, model="rag:handbook")) == (
            "I found nothing in the documents that answers this question."
        )
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


async def test_no_answer_in_time_is_an_error_that_says_so(nats_broker: NatsServer) -> None:
    async with running_stand(nats_broker, gateway_query_timeout_seconds=0.3) as stand:
        with pytest.raises(openai.APIError, match="no answer within") as caught:
            await text_of(await ask(stand))
    assert caught.value.code == "query_timeout"


async def test_a_gateway_that_ends_says_so_in_the_middle_of_an_answer(stand: Stand, agent: Agent) -> None:
    agent.events = [event(1, "accepted"), delta(2, "In 18")]
    stream = await ask(stand)
    await anext(stream)
    stand.service.begin_shutdown()
    with pytest.raises(openai.APIError, match="ask again") as caught:
        await text_of(stream)
    assert caught.value.type == "server_error"
