"""Messages survive the way through bytes, vectors bit for bit."""

import numpy as np
import pytest

from contracts import subjects
from contracts.chunks import ChunksEmbedded, EmbeddedChunk, chunk_id
from contracts.codec import DecodeError, content_type, decode, encode
from contracts.facts import FACT_TYPES, DocumentIndexed


def embedded(vector: np.ndarray) -> ChunksEmbedded:
    chunk = EmbeddedChunk(ordinal=0, chunk_id="c", text="täxt", vector=vector.astype("<f4").tobytes())
    return ChunksEmbedded(
        tenant="t", document_id="d", revision=1, collection="c", batch=0, model="m", dimension=3, chunks=[chunk]
    )


def test_vectors_travel_as_raw_float32_and_come_back_bit_for_bit() -> None:
    vector = np.array([0.1, -2.5e-30, 3.0], dtype=np.float32)
    back = decode(ChunksEmbedded, encode(embedded(vector)))
    assert back.chunks[0].vector_array().tobytes() == vector.tobytes()
    assert content_type(ChunksEmbedded) == "application/msgpack"


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\x93\x01"])
def test_broken_msgpack_is_a_decode_error_and_nothing_else(payload: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(ChunksEmbedded, payload)


def test_every_fact_subject_has_one_type_that_comes_back_equal() -> None:
    fact = DocumentIndexed(tenant="t", document_id="d", revision=7, collection="c", chunks=3)
    assert decode(FACT_TYPES[subjects.DOCUMENT_INDEXED], encode(fact)) == fact


def test_chunk_ids_depend_on_every_part_and_on_nothing_else() -> None:
    assert chunk_id("t", "d", 1, 0) == chunk_id("t", "d", 1, 0)
    parts = [("t", "d", 1, 0), ("u", "d", 1, 0), ("t", "e", 1, 0), ("t", "d", 2, 0), ("t", "d", 1, 1)]
    assert len({chunk_id(*part) for part in parts}) == len(parts)


@pytest.mark.parametrize("tenant", ["", "a.b", "*", ">", "A", "a b", "-a", "a" * 64])
def test_a_tenant_that_could_reach_beyond_its_subject_token_is_refused(tenant: str) -> None:
    with pytest.raises(ValueError, match="tenant"):
        subjects.ingest(tenant)
    with pytest.raises(ValueError, match="tenant"):
        subjects.tenant_of("rag.v1.ingest." + tenant)


def test_subjects_with_a_variable_token_are_labelled_by_their_template() -> None:
    assert subjects.template_of("rag.v1.ingest.acme") == "rag.v1.ingest.{tenant}"
    assert subjects.template_of("rag.v1.answers.0af") == "rag.v1.answers.{query_id}"
    assert subjects.template_of("_INBOX.x") == "other"
