"""Every service shows what it does, and every call between services is in the trace of whoever caused it."""

import re
from typing import Any

import pytest

from tests.telemetry.conftest import DEAD_TRACE, OWN_SPAN, OWN_TRACE, SECRETS, Traffic
from tests.telemetry.services import EDGES, EVERYWHERE, SIGNALS, Edge, Signals

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
FLOWS = ("ingest", "search", "agent", "died", "replay")


def of(traffic: Traffic, flow: str, service: str, name: str) -> list[dict[str, Any]]:
    return [span for span in traffic.spans[flow] if (span["service"], span["name"]) == (service, name)]


@pytest.mark.parametrize("signals", SIGNALS, ids=lambda row: row.service)
def test_every_service_shows_its_signals(traffic: Traffic, signals: Signals) -> None:
    made = {span["name"] for spans in traffic.spans.values() for span in spans if span["service"] == signals.service}
    assert set(signals.spans) <= made
    printed = set(re.findall(r"^(\w+)", "".join(traffic.metrics[signals.service]), re.MULTILINE))
    assert {*signals.metrics, *EVERYWHERE} <= printed


@pytest.mark.parametrize("edge", EDGES, ids=str)
def test_a_call_is_the_child_of_its_cause(traffic: Traffic, edge: Edge) -> None:
    causes = {span["span_id"] for span in of(traffic, edge.flow, edge.source, edge.source_span)}
    calls = of(traffic, edge.flow, edge.to, edge.to_span)
    assert causes, f"{edge.source} made no span {edge.source_span!r}"
    assert calls, f"{edge.to} made no span {edge.to_span!r}"
    assert causes & {span["parent_span_id"] for span in calls}


def test_a_producers_own_trace_is_continued(traffic: Traffic) -> None:
    assert traffic.traces["ingest"] == OWN_TRACE
    [first] = of(traffic, "ingest", "gateway", "POST /v1/documents")
    assert first["parent_span_id"] == OWN_SPAN


def test_a_replay_is_a_trace_of_its_own_that_links_the_one_in_which_the_message_died(traffic: Traffic) -> None:
    [replay] = of(traffic, "replay", "persistence", "replay dead letter")
    assert replay["parent_span_id"] is None
    assert DEAD_TRACE in {link["trace_id"] for link in replay["links"]}


def test_every_delivery_of_a_message_shows_which_one_it_was(traffic: Traffic) -> None:
    made = of(traffic, "died", "parser", "process rag.v1.ingest.{tenant}")
    # 0 is work done past a backlog.
    tries = [each for each in made if each["attributes"]["rag.message.deliveries"]]
    assert [each["attributes"]["rag.message.deliveries"] for each in tries] == list(range(1, len(tries) + 1))
    assert len(tries) > 1
    assert [each["attributes"]["rag.message.outcome"] for each in tries] == ["retry"] * (len(tries) - 1) + ["dead"]
    assert {each["status"] for each in tries} == {"error"}


@pytest.mark.parametrize("flow", FLOWS)
def test_every_parent_is_in_the_trace(traffic: Traffic, flow: str) -> None:
    known = {span["span_id"] for span in traffic.spans[flow]} | {None, OWN_SPAN}
    assert [span["name"] for span in traffic.spans[flow] if span["parent_span_id"] not in known] == []


@pytest.mark.parametrize("flow", FLOWS)
def test_no_span_holds_what_was_stored_asked_or_signed_with(traffic: Traffic, flow: str) -> None:
    found = str(traffic.spans[flow])
    assert [secret for secret in SECRETS if secret in found] == []
