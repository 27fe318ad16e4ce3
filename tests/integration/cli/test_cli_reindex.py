"""`rag reindex` against scripted steps; tests/e2e has it against the platform."""

from typing import Any

import pytest

from services.cli import reindexing
from tests.integration.cli.fake_gateway import FakeGateway, Rag

OLD, NEW = "old@1.2", "new@remote.24"


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RETRY_PAUSE_SECONDS", "FOLLOW_SECONDS"):
        monkeypatch.setattr(reindexing, name, 0.0)


def state(**fields: Any) -> dict[str, Any]:
    usual = {"active": OLD, "chunks": 40, "next_model": NEW, "next_chunks": 0, "looked_at": 0, "copied": 0}
    return {**usual, "cursor": None, **fields}


LOOK = ("look", state())
EMPTY_PASS = ("copy", state(looked_at=40))
FULL_PASS = [
    ("copy", state(cursor="chunks:1")),
    ("copy", state(looked_at=25, copied=25, cursor="chunks:2")),
    ("copy", state(looked_at=15, copied=10)),
]
SWITCH = ("activate", state(active=NEW))


def test_it_copies_catches_up_switches_and_says_what_to_configure(rag: Rag, gateway: FakeGateway) -> None:
    gateway.steps = [LOOK, *FULL_PASS, EMPTY_PASS, SWITCH, EMPTY_PASS]

    told = rag("reindex")

    assert (told.code, gateway.steps) == (0, [])
    lines = [line for line in told.out.splitlines() if line]
    assert lines[0] == f"From {OLD} (40 chunks) to {NEW}; until the switch searches use the former."
    assert lines[1] == "Pass 1: looked at 40 chunks, copied 35."
    assert lines[2:5] == [
        "Pass 2: looked at 40 chunks, copied 0.",
        f"Searches use {NEW} now.",
        "Pass 3: looked at 40 chunks, copied 0.",
    ]
    assert "  RAG_EMBEDDING_MODEL=new RAG_EMBEDDING_DIMENSION=24 RAG_EMBEDDING_URL=…" in lines
    assert [request["cursor"] for request in gateway.reindex_requests[1:4]] == [None, "chunks:1", "chunks:2"]


def test_programs_get_an_event_for_each_pass(rag: Rag, gateway: FakeGateway) -> None:
    gateway.steps = [LOOK, *FULL_PASS, EMPTY_PASS, SWITCH, EMPTY_PASS]

    events = rag("reindex", "--json").events

    assert [event["event"] for event in events] == ["pass", "pass", "switched", "pass", "done"]
    assert events[0] == {"event": "pass", "number": 1, "looked_at": 40, "copied": 35}
    assert (events[-1]["model"], events[-1]["before"]) == (NEW, OLD)


def test_what_is_found_missing_at_the_switch_is_copied_in_another_pass(rag: Rag, gateway: FakeGateway) -> None:
    gateway.steps = [LOOK, EMPTY_PASS, ("activate", (422, "reindex_incomplete")), EMPTY_PASS, SWITCH, EMPTY_PASS]

    assert rag("reindex").code == 0
    assert gateway.steps == []


def test_a_step_that_fails_for_a_while_is_tried_again(rag: Rag, gateway: FakeGateway) -> None:
    gateway.steps = [("look", (503, "dependency_unavailable")), LOOK, ("copy", (504, "deadline_expired")), EMPTY_PASS]
    gateway.steps += [("activate", (503, "model_mismatch")), SWITCH, EMPTY_PASS]

    assert rag("reindex").code == 0
    assert gateway.steps == []


def test_a_retriever_that_was_started_again_after_the_switch_needs_no_last_pass(rag: Rag, gateway: FakeGateway) -> None:
    gateway.steps = [LOOK, EMPTY_PASS, SWITCH, ("copy", (422, "already_active"))]

    assert rag("reindex").code == 0


def test_a_text_that_cannot_be_embedded_ends_it(rag: Rag, gateway: FakeGateway) -> None:
    gateway.steps = [LOOK, ("copy", (422, "embedding_refused"))]

    told = rag("reindex")

    assert told.code == 1
    assert "embedding_refused" in told.err


def test_it_gives_up_when_the_copy_is_never_complete(
    rag: Rag, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reindexing, "MAX_PASSES", 2)
    gateway.steps = [LOOK, *[("copy", state(looked_at=40, copied=1))] * 2]

    told = rag("reindex")

    assert told.code == 1
    assert "missing after each of 2 passes" in told.err


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (state(next_model=None), f"no next model is configured, the index holds {OLD}: set RAG_NEXT_EMBEDDING_MODEL"),
        (state(active=NEW), f"{NEW} is active already: set RAG_EMBEDDING_MODEL=new"),
    ],
    ids=["none", "already active"],
)
def test_without_anything_to_switch_to_it_says_what_to_do(
    rag: Rag, gateway: FakeGateway, found: dict[str, Any], sentence: str
) -> None:
    gateway.steps = [("look", found)]

    told = rag("reindex")

    assert told.code == 1
    assert sentence in told.err
