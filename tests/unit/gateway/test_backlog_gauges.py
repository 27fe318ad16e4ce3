"""What is shown of the consumers' backlogs between two looks at the broker."""

import time
from contextlib import suppress

import pytest

from contracts.topology import AGENT, PARSER
from services.gateway.metrics import STALE_SAMPLES, BacklogGauges, StreamMetrics
from services.gateway.nats_backlogs import Backlog
from tests.measuring import Measured


def backlog(**fields: object) -> Backlog:
    values = {"consumer": PARSER, "pending": 7, "in_work": 3, "redelivered": 1, "done": 0, "settled": 4, **fields}
    return Backlog(**values)  # type: ignore[arg-type]


def test_each_consumer_has_its_own_figures() -> None:
    measured = Measured()
    gauges = BacklogGauges(measured.meter, sample_seconds=5)
    gauges.show([backlog(oldest_at=time.time() - 60), backlog(consumer=AGENT, pending=0, in_work=0)])
    group = "messaging_consumer_group_name"
    assert measured.total("rag.consumer.pending", **{group: "parser"}) == 7
    assert measured.total("rag.consumer.ack_pending", **{group: "parser"}) == 3
    assert measured.total("rag.consumer.redelivered", **{group: "parser"}) == 1
    assert 60 <= measured.total("rag.consumer.backlog_age", **{group: "parser"}) < 70
    assert measured.values("rag.consumer.backlog_age").keys() == measured.values("rag.consumer.pending").keys()
    assert measured.total("rag.consumer.backlog_age", **{group: "agent"}) == 0


def test_figures_that_could_not_be_read_again_go_away(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = Measured()
    gauges = BacklogGauges(measured.meter, sample_seconds=5)
    gauges.show([backlog()])
    later = time.monotonic() + STALE_SAMPLES * 5 + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert measured.values("rag.consumer.pending") == {}


def test_nothing_is_claimed_before_the_first_look() -> None:
    measured = Measured()
    BacklogGauges(measured.meter, sample_seconds=5)
    assert measured.values("rag.consumer.pending") == {}


def test_open_streams_are_counted_while_they_are_open() -> None:
    measured = Measured()
    counted = StreamMetrics(measured.meter).of("answer")
    with suppress(KeyError), counted():
        assert measured.total("rag.streams.open", kind="answer") == 1
        raise KeyError("a stream that breaks")
    assert measured.total("rag.streams.open", kind="answer") == 0
    assert measured.total("rag.streams.open", kind="document") == 0
