"""Which items a sample takes."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cli.evaluation.sampling import sample

IDS = [f"q{number}" for number in range(200)]


@pytest.mark.parametrize("limit", [None, 200, 1_000])
def test_without_a_bound_below_their_number_all_are_taken(limit: int | None) -> None:
    assert sample(IDS, limit, 0, str) == IDS


@given(st.integers(1, 199), st.integers())
def test_a_sample_keeps_the_order_and_is_the_same_every_time(limit: int, seed: int) -> None:
    taken = sample(IDS, limit, seed, str)
    assert len(taken) == limit
    assert taken == [item for item in IDS if item in set(taken)] == sample(IDS, limit, seed, str)


def test_the_order_of_the_file_has_no_say() -> None:
    shuffled = random.Random(1).sample(IDS, len(IDS))
    assert set(sample(shuffled, 20, 3, str)) == set(sample(IDS, 20, 3, str))


def test_a_smaller_sample_is_part_of_a_larger_one() -> None:
    assert set(sample(IDS, 20, 3, str)) < set(sample(IDS, 60, 3, str))


def test_another_seed_takes_others() -> None:
    assert sample(IDS, 20, 3, str) != sample(IDS, 20, 4, str)
