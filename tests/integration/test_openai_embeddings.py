"""Embeddings as the official client of OpenAI's API asks for them, on a real broker."""

import asyncio
import base64
from collections.abc import AsyncIterator
from itertools import product
from typing import Any

import numpy as np
import openai
import pytest

from contracts.retrieval import EmbedRequest
from shared.errors import Overloaded, Unavailable
from tests.integration.openai_stand import Stand, running_stand
from tests.running import eventually
from tests.servers import NatsServer
from tests.unit.agent.library import DIMENSION, vector_of

TEXTS = ["The harbour of Lindby", "Bread leaves the oven at five.", "Züge ⚓"]


@pytest.fixture
async def stand(nats_broker: NatsServer) -> AsyncIterator[Stand]:
    async with running_stand(nats_broker, gateway_query_timeout_seconds=5, gateway_embedding_slice_texts=2) as running:
        yield running


async def refusal(stand: Stand, **request: Any) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as caught:
        await stand.client.embeddings.create(**{"model": "default", "input": "x", **request})
    return caught.value


def slices(stand: Stand) -> list[EmbedRequest]:
    """Return what was asked of the embedder, apart from the question which model it runs."""
    return [request for request in stand.embedded if request.texts != ["model"]]


async def test_texts_get_the_vectors_of_the_embedder(stand: Stand) -> None:
    forms: list[Any] = [openai.omit, "float", "base64"]
    for model, form in product(["default", "words-in-buckets"], forms):
        found = await stand.client.embeddings.create(
            model=model, input=TEXTS, encoding_format=form, dimensions=DIMENSION
        )
        assert found.model == "words-in-buckets"
        assert [item.index for item in found.data] == [0, 1, 2]
        for text, item in zip(TEXTS, found.data, strict=True):
            assert vector_in(item.embedding) == vector_of(text).tolist()


def vector_in(embedding: Any) -> Any:
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4").tolist()
    return np.array(embedding, np.float32).tolist()


async def test_one_text_is_a_list_of_one(stand: Stand) -> None:
    found = await stand.client.embeddings.create(model="default", input=TEXTS[0])
    assert len(found.data) == 1


async def test_usage_is_about_a_token_for_four_bytes(stand: Stand) -> None:
    found = await stand.client.embeddings.create(model="default", input=["x" * 40, "é" * 4])
    assert (found.usage.prompt_tokens, found.usage.total_tokens) == (12, 12)


async def test_texts_are_passages_unless_the_caller_says_otherwise(stand: Stand) -> None:
    await stand.client.embeddings.create(model="default", input="x")
    await stand.client.embeddings.create(model="default", input="x", extra_body={"input_type": "query"})
    assert [(request.kind, request.bulk) for request in slices(stand)] == [("passage", False), ("query", False)]


async def test_a_wrong_request_is_refused_before_any_text_is_embedded(stand: Stand) -> None:
    wrong: list[tuple[dict[str, Any], str, str]] = [
        ({"input": [1, 2, 3]}, "input", "tokens are not supported"),
        ({"input": [[1, 2], [3]]}, "input", "tokens are not supported"),
        ({"input": ""}, "input[0]", "at least 1 character"),
        ({"input": []}, "input", "at least 1 item"),
        ({"input": ["x"] * 2049}, "input", "at most 2048 items"),
        ({"input": ["x", "y" * 32_769]}, "input[1]", "at most 32768 characters"),
        ({"dimensions": 64}, "dimensions", f"vectors of {DIMENSION} dimensions"),
        ({"encoding_format": "hex"}, "encoding_format", "'float' or 'base64'"),
        ({"extra_body": {"truncate": "END"}}, "truncate", "not permitted"),
    ]
    for fields, param, reason in wrong:
        error = await refusal(stand, **fields)
        assert isinstance(error, openai.BadRequestError)
        assert error.param == param
        assert reason in error.message
    assert slices(stand) == []


async def test_another_embedding_model_is_not_found(stand: Stand) -> None:
    for model in ("text-embedding-3-small", "rag", "words-in-buckets@1"):
        error = await refusal(stand, model=model)
        assert (error.status_code, error.code, error.param) == (404, "model_not_found", "model")
    assert slices(stand) == []


async def test_a_request_goes_to_the_embedder_in_slices_one_after_the_other(stand: Stand) -> None:
    """INVARIANT: interactive before bulk. All at once, a question's vector would wait behind all of them."""
    stand.embedder_open.clear()
    large = asyncio.create_task(stand.client.embeddings.create(model="default", input=["a", "b", "c", "d", "e"]))
    await eventually(lambda: stand.embedded, "the model is asked for")
    stand.embedder_open.set()
    stand.embedder_open = opened = asyncio.Event()
    await eventually(lambda: slices(stand), "the first slice is at the embedder")
    small = asyncio.create_task(stand.client.embeddings.create(model="default", input="small"))
    await eventually(lambda: stand.app.state.gateway.waiting_seats.free == 998, "both wait")
    # What the gateway has sent before this question arrives before it.
    await stand.client.models.retrieve("rag:handbook")
    assert [request.texts for request in slices(stand)] == [["a", "b"]]
    opened.set()
    assert len((await large).data) == 5
    assert len((await small).data) == 1
    assert [request.texts for request in slices(stand)] == [["a", "b"], ["small"], ["c", "d"], ["e"]]


async def test_long_texts_make_smaller_slices(nats_broker: NatsServer) -> None:
    async with running_stand(nats_broker) as stand:
        await stand.client.embeddings.create(model="default", input=["x" * 1_024] * 5 + ["\x01" * 32_768, "y"])
    assert [len(request.texts) for request in slices(stand)] == [2, 2, 1, 1, 1]


async def test_a_model_that_took_over_is_known_by_its_name(stand: Stand) -> None:
    await stand.client.embeddings.create(model="words-in-buckets", input="x")
    stand.library.model = "next-one@remote.512"
    error = await refusal(stand, model="words-in-buckets")
    assert (error.status_code, error.code) == (503, "model_mismatch")
    found = await stand.client.embeddings.create(model="next-one", input="x")
    assert found.model == "next-one"


async def test_vectors_of_two_models_are_never_mixed_in_one_answer(stand: Stand) -> None:
    """INVARIANT: vectors of two models are not comparable; an answer that mixes them looks right and is not."""
    stand.embedder_open.clear()
    asked = asyncio.create_task(refusal(stand, input=["a", "b", "c"]))
    await eventually(lambda: stand.embedded, "the model is asked for")
    stand.embedder_open.set()
    stand.embedder_open = opened = asyncio.Event()
    await eventually(lambda: slices(stand), "the first slice is at the embedder")
    opened.set()
    stand.library.model = "next-one@1"
    assert (await asked).code == "model_mismatch"


async def test_an_embedder_that_cannot_is_to_be_asked_again(stand: Stand) -> None:
    for failure in (Unavailable("it restarts"), Overloaded("the lane is full")):
        stand.embedder_failure = failure
        error = await refusal(stand)
        assert isinstance(error, openai.InternalServerError)
        assert (error.status_code, error.type) == (503, "server_error")
        assert int(error.response.headers["retry-after"]) >= 1


async def test_waiting_for_a_turn_has_an_end(nats_broker: NatsServer) -> None:
    async with running_stand(nats_broker, gateway_query_timeout_seconds=0.5) as stand:
        await stand.client.embeddings.create(model="default", input="x")
        stand.embedder_open.clear()
        errors = await asyncio.gather(*(refusal(stand) for _ in range(3)))
        stand.embedder_open.set()
    assert sorted({error.status_code for error in errors}) in ([503, 504], [504])
    assert "embedding_timeout" in {error.code for error in errors}
