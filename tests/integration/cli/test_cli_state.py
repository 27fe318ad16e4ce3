"""`rag status` and `rag doctor`."""

import json
import signal
import subprocess
import sys

import pytest

from shared.settings import PROJECT_ROOT
from tests.integration.cli.fake_gateway import FakeGateway, Output, Rag, health, replica


def test_the_state_shows_services_stages_and_collections(rag: Rag) -> None:
    told = rag("status")
    assert told.code == 0
    rows = [line.split() for line in told.out.splitlines()]
    assert ["persistence", "1/1", "1/1", "persistence-1"] in rows
    assert ["parser", "41", "2", "1", "3", "-", "1"] in rows
    assert ["default", "3", "12", "2", "indexed,", "1", "failed"] in rows


def test_the_state_for_programs_names_the_broker(rag: Rag) -> None:
    state = rag("status", "--json").json
    assert state["nats_url"] == "nats://127.0.0.1:1"
    assert state["pipeline"]["stages"][0]["backlog"] == 41
    assert state["usage"]["limits"] == {"documents": 5_000, "bytes": None}


def test_the_state_tells_what_is_used_of_a_quota(rag: Rag) -> None:
    assert "usage   1,234 of 5,000 documents, 56,789 bytes" in rag("status").out.splitlines()


def checks(told: Output) -> dict[str, dict[str, str]]:
    return {check["check"]: check for check in told.json["checks"]}


def test_the_doctor_finds_nothing_where_nothing_is_wrong(rag: Rag) -> None:
    found = checks(rag("doctor", "--json"))
    assert found["python"]["verdict"] == "good"
    assert {found[name]["verdict"] for name in ("reachable", "parser", "persistence", "counts")} == {"good"}
    assert found["topology"]["verdict"] == "skipped"


def test_the_doctor_says_which_replica_waits_for_what(rag: Rag, gateway: FakeGateway) -> None:
    waiting = [replica("embedder-1", {}), replica("embedder-2", {"waiting_for": "topology"}, ready=False)]
    gateway.health = health(embedder={"replicas": waiting, "ready": 1, "live": 2}, agent={"replicas": []})
    told = rag("doctor", "--json")
    found = checks(told)
    assert told.code == 1
    assert "1 of 2 not ready (embedder-2: waiting for topology)" in found["embedder"]["message"]
    assert "no replica answers" in found["agent"]["message"]


def test_the_doctor_compares_database_and_index(
    rag: Rag, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.cli.platform_checks.COUNT_PAUSE_SECONDS", 0.0)
    lost = replica("retriever-1", {"index": {"chunks": 11}})
    gateway.health = health(retriever={"replicas": [lost], "ready": 1, "live": 1})
    found = checks(rag("doctor", "--json"))
    assert found["counts"]["verdict"] == "bad"
    assert "12 chunks in the database, 11 in the index" in found["counts"]["message"]


def test_the_doctor_without_a_gateway_checks_what_it_can(rag: Rag, gateway: FakeGateway) -> None:
    gateway.url = "http://127.0.0.1:1"
    told = rag("doctor")
    assert told.code == 1
    found = " ".join(told.out.split())
    assert "✗ reachable no gateway at http://127.0.0.1:1; start it with `rag up`" in found
    assert "✓ python" in found
    assert "- counts not checked without the gateway" in found


def test_watching_goes_on_when_the_gateway_goes_away(gateway: FakeGateway) -> None:
    command = [sys.executable, "-m", "services.cli.main", "status", "--watch", "--interval", "0.5", "--json"]
    with subprocess.Popen(
        [*command, "--url", gateway.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=PROJECT_ROOT
    ) as watching:
        assert watching.stdout is not None
        first = json.loads(watching.stdout.readline())
        gateway.away = True
        while "error" not in (state := json.loads(watching.stdout.readline())):
            assert state["status"] == "ok"
        gateway.away = False
        while "error" in json.loads(watching.stdout.readline()):
            continue
        watching.send_signal(signal.SIGINT)
        assert watching.wait(10) == 130
    assert first["services"]["parser"]["ready"] == 1


def index_of(model: str, **fields: object) -> dict[str, object]:
    index = {"chunks": 12, "model": model, **fields}
    return {"replicas": [replica("retriever-1", {"index": index})], "ready": 1, "live": 1}


def embedder_of(model: str, **fields: object) -> dict[str, object]:
    return {"replicas": [replica("embedder-1", {"model": {"model": model, **fields}})], "ready": 1, "live": 1}


def test_the_state_shows_the_model_of_the_index_and_the_next_one(rag: Rag, gateway: FakeGateway) -> None:
    gateway.health = health(retriever=index_of("old@1", next={"model": "new@2", "chunks": 7}))
    assert "model   old@1, next new@2 (7 chunks)" in rag("status").out.splitlines()
    gateway.health = health(retriever=index_of("new@2"))
    assert "model   new@2" in rag("status").out.splitlines()


def test_the_doctor_finds_an_embedder_without_the_model_of_the_index(rag: Rag, gateway: FakeGateway) -> None:
    gateway.health = health(retriever=index_of("new@2"), embedder=embedder_of("old@1"))
    found = checks(rag("doctor", "--json"))["model"]
    assert (found["verdict"], "new@2, which an embedder does not have" in found["message"]) == ("bad", True)

    gateway.health = health(retriever=index_of("new@2"), embedder=embedder_of("old@1", next_model="new@2"))
    assert checks(rag("doctor", "--json"))["model"]["verdict"] == "good"


def test_the_doctor_says_how_to_go_on_to_the_next_model(rag: Rag, gateway: FakeGateway) -> None:
    filling = index_of("old@1", next={"model": "new@2", "chunks": 7})
    gateway.health = health(retriever=filling, embedder=embedder_of("old@1", next_model="new@2"))
    found = checks(rag("doctor", "--json"))["model"]
    assert (found["verdict"], found["message"]) == ("good", "old@1; new@2 is next: run `rag reindex`")


def test_the_doctor_finds_retrievers_that_search_by_different_models(rag: Rag, gateway: FakeGateway) -> None:
    replicas = [replica(f"retriever-{n}", {"index": {"chunks": 12, "model": f"m@{n}"}}) for n in (1, 2)]
    gateway.health = health(
        retriever={"replicas": replicas, "ready": 2, "live": 2}, embedder=embedder_of("m@1", next_model="m@2")
    )
    assert checks(rag("doctor", "--json"))["model"]["verdict"] == "bad"
