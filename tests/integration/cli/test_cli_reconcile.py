"""`rag doctor --reconcile` against scripted steps; tests/e2e has it against the platform."""

from typing import Any

import pytest

from services.cli import reconciling
from tests.integration.cli.fake_gateway import FakeGateway, Rag


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciling, "RETRY_PAUSE_SECONDS", 0.0)


def step(counts: dict[str, dict[str, int]] | None = None, cursor: str | None = None, **finding: Any) -> dict[str, Any]:
    usual = {"tenant": "acme", "document_id": "d", "collection": None, "revision": 7, "expected": 3, "found": 1}
    findings = [{**usual, **finding}] if finding else []
    return {"documents": 10, "points": 30, "counts": counts or {}, "findings": findings, "cursor": cursor}


def test_where_nothing_differs_it_says_so(rag: Rag, gateway: FakeGateway) -> None:
    gateway.comparisons = [step(cursor="revisions:9"), step()]

    told = rag("doctor", "--reconcile")

    assert told.code == 0
    assert told.out.splitlines() == ["Compared 20 documents and 60 points.", "Database and index agree."]
    assert [request["cursor"] for request in gateway.requests] == [None, "revisions:9"]


def test_what_was_repaired_is_shown_and_is_no_failure(rag: Rag, gateway: FakeGateway) -> None:
    gateway.comparisons = [
        step({"orphan": {"repaired": 2}}, "revisions:9", kind="orphan", outcome="repaired", expected=0, found=4),
        step({"orphan": {"repaired": 1}, "fence": {"repaired": 5}}),
    ]

    told = rag("doctor", "--reconcile")

    assert told.code == 0
    rows = [line.split() for line in told.out.splitlines()]
    assert ["orphan", "3", "0", "0", "0"] in [row[:5] for row in rows]
    assert ["fence", "5", "0", "0", "0"] in [row[:5] for row in rows]
    assert "orphan (repaired): document d of tenant acme, revision 7: 0 expected, 4 found" in told.out


@pytest.mark.parametrize(
    ("outcome", "advice"),
    [("send_again", "send them again"), ("open", "nothing repairs"), ("in_flight", "run this again")],
)
def test_what_is_left_for_a_person_is_a_failure_with_advice(
    rag: Rag, gateway: FakeGateway, outcome: str, advice: str
) -> None:
    gateway.comparisons = [step({"lost": {outcome: 1, "repaired": 4}}, kind="lost", outcome=outcome)]

    told = rag("doctor", "--reconcile")

    assert told.code == 1
    assert advice in told.out


def test_programs_get_one_document(rag: Rag, gateway: FakeGateway) -> None:
    gateway.comparisons = [step({"lost": {"send_again": 1}}, kind="lost", outcome="send_again")]

    told = rag("doctor", "--reconcile", "--json")

    assert told.code == 1
    found = told.json
    assert (found["repaired"], found["documents"], found["points"]) == (False, 10, 30)
    assert found["counts"] == {"lost": {"send_again": 1}}
    assert found["findings"][0]["document_id"] == "d"


def test_a_step_that_fails_for_a_while_is_tried_again(rag: Rag, gateway: FakeGateway) -> None:
    gateway.comparisons = [(503, "dependency_unavailable"), step()]
    assert rag("doctor", "--reconcile").code == 0


def test_a_step_that_is_refused_ends_it(rag: Rag, gateway: FakeGateway) -> None:
    gateway.comparisons = [(422, "invalid_cursor")]
    told = rag("doctor", "--reconcile")
    assert (told.code, "invalid_cursor" in told.err) == (1, True)
