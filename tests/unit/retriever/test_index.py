"""What the types of the index refuse."""

from typing import Any

import numpy as np
import pytest

from services.retriever.index import IndexQuery, InvalidPoint, SearchMode, SparseVector


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"limit": 0}, "at least 1"),
        ({"candidates": 0}, "at least 1"),
        ({"vector": None}, "dense search needs a dense vector"),
        ({"mode": SearchMode.SPARSE}, "sparse search needs a sparse vector"),
        ({"mode": SearchMode.HYBRID}, "hybrid search needs a sparse vector"),
        ({"mode": SearchMode.HYBRID, "vector": None}, "hybrid search needs a dense vector"),
    ],
    ids=str,
)
def test_a_query_that_nothing_can_answer_is_refused(fields: dict[str, Any], message: str) -> None:
    defaults: dict[str, Any] = {"tenant": "acme", "limit": 1, "vector": np.ones(2, np.float32)}

    with pytest.raises(ValueError, match=message):
        IndexQuery(**(defaults | fields))


@pytest.mark.parametrize(("indices", "values"), [((1, 2), (1.0,)), ((1, 1), (1.0, 2.0))])
def test_a_sparse_vector_that_is_none_is_refused(indices: tuple[int, ...], values: tuple[float, ...]) -> None:
    with pytest.raises(InvalidPoint, match="sparse vector"):
        SparseVector(indices, values)
