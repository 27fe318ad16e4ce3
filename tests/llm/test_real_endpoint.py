"""The language model's adapter against a real server: what it sends is understood, what comes back is read rightly.

What the small model says is not judged.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from services.agent.llm import ChatMessage, ChatRequest, Completion, ContextTooLong, LanguageModel, Tool
from tests.llm.llama import LlamaServer
from tests.running import eventually

pytestmark = [pytest.mark.llm, pytest.mark.timeout(300)]

QUESTION = ChatRequest(
    (ChatMessage("system", "You answer in one short sentence."), ChatMessage("user", "Name three rivers of Europe.")),
    max_output_tokens=16,
)
COUNTING = replace(
    QUESTION, messages=(ChatMessage("user", "Count from 1 to 500, with commas."),), max_output_tokens=500
)
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "inhabitants": {"type": "integer"}},
    "required": ["city", "inhabitants"],
    "additionalProperties": False,
}

# It cannot be ended before there are so many.
LONG_LIST = {"type": "array", "items": {"type": "integer"}, "minItems": 400}


async def ask(model: LanguageModel, request: ChatRequest) -> tuple[list[str], Completion]:
    *pieces, completion = [piece async for piece in model.stream(request)]
    assert isinstance(completion, Completion)
    return [piece for piece in pieces if isinstance(piece, str)], completion


def idle(llama: LlamaServer) -> Callable[[], Awaitable[bool]]:
    """Return a condition: the server works on nothing."""

    async def none_at_work() -> bool:
        async with httpx.AsyncClient(timeout=30) as client:
            slots: list[dict[str, Any]] = (await client.get(f"{llama.address}/slots")).json()
        return not any(slot["is_processing"] for slot in slots)

    return none_at_work


async def test_the_endpoint_knows_the_model_by_its_configured_name(llama: LlamaServer, model: LanguageModel) -> None:
    async with httpx.AsyncClient(timeout=30) as client:
        listed = (await client.get(f"{llama.base_url}/models")).json()
    assert [entry["id"] for entry in listed["data"]] == [model.name]


async def test_text_comes_in_pieces_and_the_endpoint_counts_its_tokens(model: LanguageModel) -> None:
    pieces, completion = await ask(model, QUESTION)
    assert len(pieces) > 3
    assert "".join(pieces) == completion.text
    usage = completion.usage
    # The chat template adds to the some twenty tokens of the messages.
    assert 20 <= usage.input_tokens <= 60
    assert len(pieces) <= usage.output_tokens <= QUESTION.max_output_tokens
    assert usage.cost == pytest.approx((usage.input_tokens * 2.0 + usage.output_tokens * 8.0) / 1_000_000)


async def test_what_the_endpoint_counts_corrects_the_estimate(model: LanguageModel) -> None:
    text = "a b c d e f g h " * 20
    before = model.count_tokens(text)
    _, completion = await ask(model, replace(QUESTION, messages=(ChatMessage("user", text),), max_output_tokens=1))
    # Five bytes of estimate to what are really two tokens: without the report it would stay too few.
    assert completion.usage.input_tokens > before
    assert model.count_tokens(text) >= completion.usage.input_tokens


async def test_an_answer_that_reaches_its_length_says_so(model: LanguageModel) -> None:
    _, completion = await ask(model, replace(COUNTING, max_output_tokens=5))
    assert (completion.finish, completion.usage.output_tokens) == ("length", 5)


async def test_a_schema_is_kept_to(model: LanguageModel) -> None:
    request = replace(
        QUESTION, messages=(ChatMessage("user", "Tell of Paris."),), response_schema=CITY, max_output_tokens=60
    )
    _, completion = await ask(model, request)
    said = json.loads(completion.text)
    assert set(said) == {"city", "inhabitants"}
    assert isinstance(said["inhabitants"], int)


async def test_tools_and_their_results_are_taken(model: LanguageModel) -> None:
    """This server writes calls into the text and never into `tool_calls`: the agent's other way is there for it."""
    tool = Tool("search", "Search the documents.", {"type": "object", "properties": {"query": {"type": "string"}}})
    _, completion = await ask(model, replace(QUESTION, tools=(tool,)))
    assert completion.text or completion.tool_calls


async def test_a_request_that_is_too_long_is_told_as_that(model: LanguageModel, llama: LlamaServer) -> None:
    long = replace(QUESTION, messages=(ChatMessage("user", "word " * (2 * llama.window_tokens)),))
    with pytest.raises(ContextTooLong, match="exceeds the available context size"):
        await ask(model, long)
    assert (await ask(model, QUESTION))[1].text


async def test_an_answer_that_fills_the_window_ends_and_says_so(model: LanguageModel, llama: LlamaServer) -> None:
    full = ChatMessage("user", "Count from 1 to 500. " + "a b " * 290)
    _, completion = await ask(model, replace(COUNTING, messages=(full,), response_schema=LONG_LIST))
    assert completion.finish == "length"
    usage = completion.usage
    assert usage.input_tokens + usage.output_tokens == llama.window_tokens


async def test_a_caller_who_leaves_stops_the_work(model: LanguageModel, llama: LlamaServer) -> None:
    """Without it a question that nobody waits for any more would hold up the next one for half a minute."""
    stream = model.stream(COUNTING)
    for _ in range(3):
        assert isinstance(await anext(stream), str)
    assert not await idle(llama)()
    await stream.aclose()
    await eventually(idle(llama), "the server works on nothing any more", seconds=5)
