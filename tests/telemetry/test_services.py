"""Every service shows what it does, and every call between services is in the trace of whoever caused it."""

import re
from typing import Any

import pytest

from tests.telemetry.conftest import OWN_SPAN, OWN_TRACE, SECRETS, Traffic
from tests.telemetry.services import EDGES, EVERYWHERE, SIGNALS, Edge, Signals

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240), pytest.mark.xdist_group("telemetry")]
FLOWS = ("ingest", "search", "agent")


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


@pytest.mark.parametrize("flow", FLOWS)
def test_every_parent_is_in_the_trace(traffic: Traffic, flow: str) -> None:
    known = {span["span_id"] for span in traffic.spans[flow]} | {None, OWN_SPAN}
    assert [span["name"] for span in traffic.spans[flow] if span["parent_span_id"] not in known] == []


@pytest.mark.parametrize("flow", FLOWS)
def test_no_span_holds_what_was_stored_asked_or_signed_with(traffic: Traffic, flow: str) -> None:
    found = str(traffic.spans[flow])
    assert [secret for secret in SECRETS if secret in found] == []
