"""How two rankings become one."""

import pytest

from services.retriever.calibration import words_weight_of
from services.retriever.fusion import fuse

COSINES = {"a": 0.8, "b": 0.7, "c": 0.6}
WORDS = {"c": 12.0, "b": 6.0}


def test_with_a_known_scale_scores_are_added() -> None:
    assert fuse(COSINES, WORDS, 0.4) == pytest.approx({"c": 1.0, "b": 0.9, "a": 0.8})


def test_without_a_known_scale_ranks_are_added() -> None:
    fused = fuse(COSINES, WORDS, None)

    assert fused == pytest.approx({"c": 1 / 63 + 1 / 61, "b": 1 / 62 + 1 / 62, "a": 1 / 61})


@pytest.mark.parametrize("weight", [0.4, None])
def test_the_best_stands_first(weight: float | None) -> None:
    assert list(fuse(COSINES, WORDS, weight)) == ["c", "b", "a"]


@pytest.mark.parametrize("words", [{}, {"c": 0.0}])
@pytest.mark.parametrize("weight", [0.4, None])
def test_without_words_meaning_alone_decides(weight: float | None, words: dict[str, float]) -> None:
    assert fuse(COSINES, words, weight) == COSINES


def test_the_scale_of_the_shipped_model_is_known_whatever_its_build() -> None:
    assert words_weight_of("bge-small-en-v1.5-int8@68807e3f") == 0.15
    assert words_weight_of("text-embedding-3-small@remote.1536") is None
