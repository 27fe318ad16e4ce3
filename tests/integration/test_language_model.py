"""The language model's adapter against an endpoint that streams, refuses, breaks off, dawdles and talks rubbish."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import NoOpTracerProvider
from pydantic import SecretStr

from services.agent.llm import (
    ChatMessage,
    ChatRequest,
    Completion,
    ContextTooLong,
    LanguageModel,
    LlmRateLimited,
    LlmRefused,
    LlmUnavailable,
    Tool,
    ToolCall,
)
from services.agent.metrics import AgentMetrics
from services.agent.models import language_model
from services.agent.settings import AgentSettings
from shared.errors import DeadlineExpired, Misconfigured
from tests.running import eventually
from tests.scripted_llm import Reply, ScriptedLlm, scripted_llm

TRACER = NoOpTracerProvider().get_tracer("test")
METRICS = AgentMetrics(NoOpMeterProvider().get_meter("test"))
QUESTION = ChatRequest((ChatMessage("system", "Be brief."), ChatMessage("user", "Hello?")), max_output_tokens=50)
MARGIN_SECONDS = 5.0


@pytest.fixture
def endpoint() -> Iterator[ScriptedLlm]:
    with scripted_llm() as running:
        yield running


@asynccontextmanager
async def model_of(endpoint: ScriptedLlm, **settings: Any) -> AsyncIterator[LanguageModel]:
    fields = {"llm_base_url": endpoint.url, "llm_model": "tiny", "llm_attempts": 1, **settings}
    model = language_model(AgentSettings(**fields), TRACER, METRICS)
    assert model is not None
    try:
        yield model
    finally:
        await model.close()


async def ask(
    model: LanguageModel, request: ChatRequest = QUESTION, deadline: float | None = None
) -> tuple[list[str], Completion]:
    pieces = [piece async for piece in model.stream(request, deadline=deadline)]
    *texts, completion = pieces
    assert isinstance(completion, Completion)
    return [text for text in texts if isinstance(text, str)], completion


async def test_text_comes_in_pieces_and_the_whole_last(endpoint: ScriptedLlm) -> None:
    endpoint.script.append(Reply(pieces=("Ha", "llo", " there."), usage=(120, 30)))
    async with model_of(endpoint, llm_input_price=2.0, llm_output_price=8.0, llm_api_key=SecretStr("key-1")) as model:
        pieces, completion = await ask(model)
    assert pieces == ["Ha", "llo", " there."]
    assert (completion.text, completion.finish) == ("Hallo there.", "stop")
    assert (completion.usage.input_tokens, completion.usage.output_tokens, completion.usage.calls) == (120, 30, 1)
    assert completion.usage.cost == pytest.approx((120 * 2 + 30 * 8) / 1_000_000)
    assert endpoint.keys == ["key-1"]
    sent = endpoint.requests[0]
    assert (sent["model"], sent["max_tokens"], sent["temperature"], sent["stream"]) == ("tiny", 50, 0.0, True)
    assert [message["role"] for message in sent["messages"]] == ["system", "user"]


async def test_the_first_piece_does_not_wait_for_the_second(endpoint: ScriptedLlm) -> None:
    endpoint.script.append(Reply(text="one two", gap=30.0))
    async with model_of(endpoint) as model:
        stream = model.stream(QUESTION)
        assert await asyncio.wait_for(anext(stream), MARGIN_SECONDS) == "one"
        await stream.aclose()
        await eventually(lambda: endpoint.abandoned == 1, "the endpoint hears that nobody reads on")


async def test_one_answer_after_the_other_comes_over_one_connection(endpoint: ScriptedLlm) -> None:
    endpoint.default = lambda _request: Reply(text="one two three")
    async with model_of(endpoint) as model:
        for _ in range(5):
            await ask(model)
    assert endpoint.connections == 1


async def test_a_stream_that_stays_open_behind_its_end_keeps_nobody_waiting(endpoint: ScriptedLlm) -> None:
    endpoint.default = lambda _request: Reply(text="one two", linger=30.0)
    async with model_of(endpoint) as model:
        assert (await asyncio.wait_for(ask(model), MARGIN_SECONDS))[1].text == "one two"


async def test_tool_calls_and_schemas_pass_through(endpoint: ScriptedLlm) -> None:
    endpoint.script.append(Reply(tool_calls=(("search", {"query": "harbour"}), ("add", {"a": 1}))))
    async with model_of(endpoint) as model:
        tool = Tool("search", "Search.", {"type": "object"})
        history = (
            ChatMessage("user", "Find it."),
            ChatMessage("assistant", "", (ToolCall("c1", "search", "{}"),)),
            ChatMessage("tool", "nothing", tool_call_id="c1"),
        )
        request = ChatRequest(history, max_output_tokens=50, tools=(tool,), response_schema={"type": "object"})
        _, completion = await ask(model, request)
    assert completion.finish == "tool_calls"
    assert completion.tool_calls == (
        ToolCall("call-0", "search", '{"query": "harbour"}'),
        ToolCall("call-1", "add", '{"a": 1}'),
    )
    sent = endpoint.requests[0]
    assert sent["tools"][0]["function"]["name"] == "search"
    assert sent["messages"][1]["tool_calls"][0]["id"] == sent["messages"][2]["tool_call_id"] == "c1"
    assert sent["response_format"]["json_schema"]["schema"] == {"type": "object"}


@pytest.mark.parametrize(
    ("reply", "error", "words"),
    [
        (Reply(status=429, headers={"Retry-After": "7"}), LlmRateLimited, "busy"),
        (Reply(status=500), LlmUnavailable, "answered 500"),
        (Reply(status=401), LlmUnavailable, "RAG_LLM_API_KEY"),
        (Reply(status=404), LlmUnavailable, "RAG_LLM_MODEL"),
        (Reply(status=400, error={"code": "context_length_exceeded"}), ContextTooLong, "window"),
        (Reply(status=400, error={"message": "the request exceeds the available context size"}), ContextTooLong, "fit"),
        (Reply(status=400, error={"message": "unsafe"}), LlmRefused, "unsafe"),
        (Reply(text="so", finish="content_filter"), LlmRefused, "filter"),
        (Reply(text="it breaks off here", cut_after=2), LlmUnavailable, "reached"),
        (Reply(text="it just ends", finish=None), LlmUnavailable, "broke off"),
        (Reply(garbage=b"data: {not json}\n\n"), LlmUnavailable, "no answer"),
        (Reply(garbage=b'data: {"choices": 7}\n\n'), LlmUnavailable, "no answer"),
        (Reply(garbage=b"\x00\xff\xfe"), LlmUnavailable, "broke off"),
        (Reply(garbage=b"data: \xff\xfe\n\n"), LlmUnavailable, "no answer"),
        (Reply(garbage=b'data: {"error": {"message": "slot lost"}}\n\n'), LlmUnavailable, "slot lost"),
        (Reply(garbage=b'data: {"error": {"message": "Context size has been exceeded."}}\n\n'), ContextTooLong, "fit"),
        (Reply(status=500, error={"message": "Context size has been exceeded."}), ContextTooLong, "window"),
        (Reply(garbage=b"hello\n\n"), LlmUnavailable, "broke off"),
        (Reply(text="late", pause=30.0), LlmUnavailable, "sent nothing for 0.3 s"),
        (Reply(text="slow words", gap=30.0), LlmUnavailable, "sent nothing for 0.2 s"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_every_way_to_fail_is_a_clear_problem(
    endpoint: ScriptedLlm, reply: Reply, error: type[Exception], words: str
) -> None:
    endpoint.script.append(reply)
    async with model_of(endpoint, llm_first_token_seconds=0.3, llm_idle_seconds=0.2) as model:
        with pytest.raises(error, match=words) as raised:
            await ask(model)
    if isinstance(raised.value, LlmRateLimited):
        assert raised.value.retry_after_seconds == 7.0


async def test_an_endpoint_that_is_not_there_is_unavailable() -> None:
    with scripted_llm() as gone:
        pass
    async with model_of(gone) as model:
        with pytest.raises(LlmUnavailable, match="cannot be reached"):
            await ask(model)


async def test_a_failure_is_tried_again_and_the_caller_sees_one_answer(endpoint: ScriptedLlm) -> None:
    endpoint.script.extend([Reply(status=503), Reply(text="now", cut_after=0), Reply(text="All good.")])
    async with model_of(endpoint, llm_attempts=3) as model:
        assert (await ask(model))[1].text == "All good."
    assert len(endpoint.requests) == 3


async def test_retry_after_is_respected(endpoint: ScriptedLlm) -> None:
    endpoint.script.extend([Reply(status=429, headers={"Retry-After": "1"}), Reply(text="Good.")])
    async with model_of(endpoint, llm_attempts=3) as model:
        started = time.monotonic()
        await ask(model)
    assert time.monotonic() - started >= 1.0


@pytest.mark.parametrize("reply", [Reply(status=400), Reply(status=401), Reply(text="a b", gap=0.01, cut_after=1)])
async def test_what_cannot_heal_or_was_read_already_is_not_tried_again(endpoint: ScriptedLlm, reply: Reply) -> None:
    endpoint.script.append(reply)
    async with model_of(endpoint, llm_attempts=3) as model:
        with pytest.raises((LlmUnavailable, LlmRefused)):
            await ask(model)
    assert len(endpoint.requests) == 1


async def test_no_retry_goes_beyond_the_deadline(endpoint: ScriptedLlm) -> None:
    endpoint.script.append(Reply(status=429, headers={"Retry-After": "60"}))
    async with model_of(endpoint, llm_attempts=3) as model:
        with pytest.raises(LlmRateLimited):
            await asyncio.wait_for(ask(model, deadline=time.time() + 20), MARGIN_SECONDS)
        with pytest.raises(DeadlineExpired):
            await ask(model, deadline=time.time() - 1)
    assert len(endpoint.requests) == 1


async def test_an_endpoint_that_keeps_failing_is_left_alone_and_then_tried_again(endpoint: ScriptedLlm) -> None:
    endpoint.default = lambda _request: Reply(status=500)
    async with model_of(endpoint, llm_breaker_failures=3, llm_breaker_seconds=0.5) as model:
        for _ in range(6):
            with pytest.raises(LlmUnavailable):
                await ask(model)
        assert len(endpoint.requests) == 3
        with pytest.raises(LlmUnavailable, match="left alone") as raised:
            await ask(model)
        assert raised.value.retry_after_seconds >= 1.0
        endpoint.default = lambda _request: Reply(text="Back.")

        async def answered() -> bool:
            try:
                return (await ask(model))[1].text == "Back."
            except LlmUnavailable:
                return False

        await eventually(answered, "the endpoint is tried again")


async def test_callers_who_go_away_do_not_open_the_circuit(endpoint: ScriptedLlm) -> None:
    endpoint.default = lambda _request: Reply(text="one two", gap=0.05)
    async with model_of(endpoint, llm_breaker_failures=2) as model:
        for _ in range(4):
            stream = model.stream(QUESTION)
            await anext(stream)
            await stream.aclose()
        assert (await ask(model))[1].text == "one two"


def test_a_tokenizer_that_is_none_is_named() -> None:
    settings = AgentSettings(llm_base_url="http://127.0.0.1:1/v1", llm_tokenizer=Path(__file__))
    with pytest.raises(Misconfigured, match="RAG_LLM_TOKENIZER"):
        language_model(settings, TRACER, METRICS)


def test_without_an_endpoint_there_is_no_model() -> None:
    assert language_model(AgentSettings(), TRACER, METRICS) is None
