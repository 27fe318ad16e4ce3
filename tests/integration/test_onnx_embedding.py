import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from tokenizers import Tokenizer

from services.embedder.embedding import Vectors
from services.embedder.lanes import Lanes
from services.embedder.onnx_embedding import OnnxEmbedding

MODELS = Path(os.environ.get("RAG_MODELS_DIR") or Path(__file__).parents[2] / ".models")
DIRECTORY = MODELS / "bge-small-en-v1.5-int8"
QUERY_PREFIX = "Represent this sentence for searching relevant passages: "
LONG = "The pump starts when the pressure in the second vessel falls below four bar. " * 60

pytestmark = pytest.mark.skipif(
    not (DIRECTORY / "model.onnx").is_file(),
    reason=f"no model files in {DIRECTORY}; set RAG_MODELS_DIR to the folder that holds bge-small-en-v1.5-int8",
)


@pytest.fixture(scope="module")
def model() -> OnnxEmbedding:
    return OnnxEmbedding(DIRECTORY, fingerprint="bge:1")


@pytest.fixture
async def lanes(model: OnnxEmbedding) -> AsyncIterator[Lanes]:
    lanes = Lanes(model, bulk_threads=2)
    yield lanes
    await lanes.close()


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return Tokenizer.from_file(str(DIRECTORY / "tokenizer.json"))


@pytest.fixture(scope="module")
def session() -> Any:
    return ort.InferenceSession(str(DIRECTORY / "model.onnx"), providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def direct(tokenizer: Any, session: Any) -> Any:
    """Compute a vector the way the model card says, with nothing else in flight."""

    def compute(text: str) -> Vectors:
        ids = np.array([tokenizer.encode(text).ids], dtype=np.int64)
        states = session.run(
            None, {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        )[0]
        # Without an axis numpy sums in another order and the last bit differs.
        vector: Vectors = states[0, 0] / np.linalg.norm(states[0, 0], axis=-1)
        return vector

    return compute


async def test_vectors_are_the_same_to_the_last_bit_whatever_else_is_in_flight(lanes: Lanes, direct: Any) -> None:
    texts = [f"Passage {number}: " + "the valve opens slowly. " * number for number in range(1, 13)]
    bulk, others, queries = await asyncio.gather(
        lanes.embed_passages(texts), lanes.embed_passages(texts[::-1]), lanes.embed_queries(texts[:4])
    )
    expected = np.stack([direct(text) for text in texts])
    assert bulk.tobytes() == expected.tobytes()
    assert others.tobytes() == expected[::-1].tobytes()
    assert queries.tobytes() == np.stack([direct(QUERY_PREFIX + text) for text in texts[:4]]).tobytes()


def test_a_text_that_is_alone_has_the_same_vector_to_the_last_bit(model: OnnxEmbedding) -> None:
    """INVARIANT: how busy an embedder is decides how long a vector takes, never which one it is."""
    hurrying = OnnxEmbedding(DIRECTORY, fingerprint="bge:1", cores_alone=2)
    for text in ("pump", f"{QUERY_PREFIX}At which pressure does the pump start?", LONG):
        assert hurrying.embed(text, alone=True).tobytes() == model.embed(text).tobytes()


async def test_vectors_are_float32_of_unit_length(lanes: Lanes) -> None:
    vectors = await lanes.embed_passages(["a", "", "Größe 漢字 😀", LONG])
    assert vectors.dtype == np.float32
    assert vectors.shape == (4, lanes.dimension) == (4, 384)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(4), abs=1e-5)


def test_a_text_is_cut_to_the_tokens_the_model_can_see(model: OnnxEmbedding, tokenizer: Any, direct: Any) -> None:
    encoding = tokenizer.encode(LONG)
    assert len(encoding.ids) > 512
    seen = LONG[: encoding.offsets[510][1]]
    assert len(tokenizer.encode(seen).ids) == model.max_tokens == 512
    assert model.embed(LONG).tobytes() == direct(seen).tobytes()
    assert model.embed(LONG).tobytes() == model.embed(LONG + "Something else altogether.").tobytes()


def test_a_megabyte_of_text_costs_no_more_than_the_tokens_the_model_can_see(model: OnnxEmbedding) -> None:
    model.embed(LONG)
    long, huge = (min(_seconds_to_embed(model, text) for _ in range(3)) for text in (LONG, LONG * 250))
    assert huge < 3 * long


def test_a_question_is_nearer_to_its_answer_than_to_anything_else(model: OnnxEmbedding) -> None:
    passages = [
        "Employees may carry over up to five days of unused leave into the next year.",
        "The compressor must be drained before the filter is changed.",
        "Our office in Lisbon moved to a new building in March.",
    ]
    question = model.embed(model.query_prefix + "How much holiday can I take into next year?")
    similarity = np.stack([model.embed(passage) for passage in passages]) @ question
    assert similarity.argmax() == 0
    assert similarity[0] > similarity[1:].max() + 0.1


def _seconds_to_embed(model: OnnxEmbedding, text: str) -> float:
    began = time.perf_counter()
    model.embed(text)
    return time.perf_counter() - began
