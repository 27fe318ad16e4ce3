"""Whose turn it is at the queue of chunks."""

from collections import Counter

import pytest

from services.parser.fair_share import REMEMBERED_TENANTS, FairShare


def test_two_tenants_share_by_bytes_whatever_the_size_of_their_documents() -> None:
    share, spent = FairShare(), Counter[str]()
    sizes = {"small": 100, "large": 10_000}
    for _ in range(2_000):
        tenant = share.next_of(sizes)
        share.spend(tenant, sizes[tenant])
        spent[tenant] += sizes[tenant]
    assert abs(spent["small"] - spent["large"]) <= 10_000


def test_a_newcomer_goes_first_but_does_not_catch_up_on_what_it_missed() -> None:
    share = FairShare()
    for _ in range(1_000):
        share.spend("heavy", 100)
    turns = []
    for _ in range(10):
        turns.append(share.next_of(["heavy", "new"]))
        share.spend(turns[-1], 100)
    assert turns[0] == "new"
    assert turns.count("heavy") >= 4


def test_nobody_waiting_is_an_error() -> None:
    with pytest.raises(ValueError, match="empty"):
        FairShare().next_of([])


def test_tenants_that_are_no_worse_off_than_newcomers_are_forgotten() -> None:
    share = FairShare()
    for number in range(3 * REMEMBERED_TENANTS):
        share.spend(f"tenant-{number}", 1)
        share.spend("heavy", 10)
    assert len(share._spent) <= REMEMBERED_TENANTS + 1
