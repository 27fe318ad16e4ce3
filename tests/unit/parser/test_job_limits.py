"""What one message may hold."""

import pytest

from services.parser.app import job_limits
from services.parser.settings import ParserSettings

MIB = 1 << 20


@pytest.mark.parametrize("max_payload_bytes", [MIB, 8 * MIB])
@pytest.mark.parametrize("dimension", [384, 4096])
@pytest.mark.parametrize("next_dimension", [None, 384, 8192])
def test_a_batch_with_the_vectors_of_every_model_stays_under_half_of_the_brokers_limit(
    max_payload_bytes: int, dimension: int, next_dimension: int | None
) -> None:
    settings = ParserSettings(
        embedding_model="m",
        embedding_dimension=dimension,
        embedding_url="http://a",
        next_embedding_model="n" if next_dimension else None,
        next_embedding_dimension=next_dimension or 1,
        next_embedding_url="http://a",
    )

    limits = job_limits(settings, max_payload_bytes)

    vectors = limits.batch_chunks * (dimension + (next_dimension or 0)) * 4
    assert vectors + limits.batch_bytes <= max_payload_bytes // 2
    assert limits.batch_chunks >= 1
