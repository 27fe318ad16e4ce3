"""Figures that are there before anything happens, and how a process ended."""

import pytest

from shared.metrics import MessagingMetrics
from tests.measuring import Measured


def test_the_counts_of_a_consumer_are_zero_before_its_first_message() -> None:
    measured = Measured()
    MessagingMetrics(measured.meter).expect_messages_of("parser")
    for outcome in ("done", "retry", "dead", "drop", "leave"):
        assert measured.values("rag.messages.processed")[("consumer", "parser"), ("outcome", outcome)] == 0
    assert measured.values("rag.messages.redelivered") == {(("consumer", "parser"),): 0}
    assert measured.values("rag.work.expired") == {(("where", "parser"),): 0}


@pytest.mark.parametrize(("left", "outcome"), [(0, "finished"), (2, "cut_off")])
def test_an_end_says_whether_all_work_was_finished(left: int, outcome: str) -> None:
    measured = Measured()
    MessagingMetrics(measured.meter).drained(1.5, left)
    assert measured.total("rag.drains", outcome=outcome) == measured.total("rag.drains") == 1
    assert measured.total("rag.drain.duration") == 1


def test_a_batch_is_counted_by_its_size() -> None:
    measured = Measured()
    record = MessagingMetrics(measured.meter).batch("embedder")
    for items in (1, 64):
        record(items)
    [point] = measured.points()["rag.batch.size"]
    assert measured.total("rag.batch.size", stage="embedder") == 2
    assert getattr(point, "sum", None) == 65
