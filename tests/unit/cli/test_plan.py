"""Which processes run, and what they are told."""

from pathlib import Path

import pytest

from services.cli.data_folder import DataFolder
from services.cli.local import Ready
from services.cli.plan import STOP_ORDER, Plan, service_of
from services.cli.ports import Ports
from services.cli.ready_block import ready_lines
from services.cli.scaling import SERVICES, parse_scale
from services.cli.scrape_targets import scrape_targets

ENVIRONMENT = {"PATH": "/bin", "RAG_NATS_URL": "nats://elsewhere", "RAG_QDRANT_URL": "http://q", "RAG_PORT": "1"}


def plan(*scale: str, host: str = "127.0.0.1", **environment: str) -> Plan:
    replicas = parse_scale(list(scale))
    ports = Ports(8000, 4222, 8222, tuple(range(8101, 8101 + sum(replicas.values()))))
    return Plan(host, ports, DataFolder(Path("/data")), replicas, ENVIRONMENT | environment, Path("/models"))


def test_every_process_has_a_name_and_a_port_of_its_own() -> None:
    specs = plan("embedder=2").services()
    assert [spec.name for spec in specs] == [
        "gateway",
        "parser",
        "embedder.1",
        "embedder.2",
        "retriever",
        "agent",
        "persistence",
        "embedder.queries",
    ]
    assert [spec.environment["RAG_PORT"] for spec in specs] == [
        "8000",
        "8101",
        "8102",
        "8103",
        "8104",
        "8105",
        "8106",
        "8107",
    ]
    assert specs[3].ready_url == "http://127.0.0.1:8103/ready"
    assert specs[3].environment["RAG_INSTANCE"] == "embedder-2"


def test_questions_have_an_embedder_that_no_document_reaches_and_that_does_not_step_back() -> None:
    *_, documents, _, _, _, questions = plan().services()
    assert documents.environment["RAG_EMBEDDER_LANES"] == "bulk"
    assert questions.environment["RAG_EMBEDDER_LANES"] == "interactive"
    assert questions.environment["RAG_INSTANCE"] == "embedder-queries"
    assert (documents.niceness, questions.niceness) == (10, 0)
    assert service_of(questions.name) == "embedder"


def test_the_launcher_decides_about_addresses_and_the_caller_about_the_rest() -> None:
    environment = plan().services()[0].environment
    assert environment["RAG_NATS_URL"] == "nats://127.0.0.1:4222"
    assert environment["RAG_NATS_USER"] == "gateway"
    assert environment["RAG_NATS_PASSWORD_FILE"] == "/data/secrets/gateway.password"
    assert environment["RAG_DATA_DIR"] == "/data"
    assert environment["RAG_MODELS_DIR"] == "/models"
    assert environment["RAG_QDRANT_URL"] == "http://q"
    assert environment["PATH"] == "/bin"


def test_no_process_is_told_the_password_itself() -> None:
    assert not any("RAG_NATS_PASSWORD" in spec.environment for spec in plan().services())


def test_the_gateway_alone_is_told_where_the_secret_of_keys_lies_unless_the_caller_gives_one() -> None:
    told = [spec.name for spec in plan().services() if "RAG_KEY_PEPPER_FILE" in spec.environment]
    assert told == ["gateway"]
    own = plan(RAG_KEY_PEPPER="p" * 32).services()[0].environment
    assert "RAG_KEY_PEPPER_FILE" not in own


def test_the_time_to_drain_is_the_callers_when_given() -> None:
    assert plan().services()[0].environment["RAG_DRAIN_SECONDS"] == "8"
    assert plan(RAG_DRAIN_SECONDS="60").services()[0].environment["RAG_DRAIN_SECONDS"] == "60"


def test_the_gateway_alone_takes_another_loopback_address() -> None:
    gateway, parser = plan(host="::1").services()[:2]
    assert gateway.ready_url == "http://[::1]:8000/ready"
    assert parser.ready_url == "http://127.0.0.1:8101/ready"


def test_every_process_has_its_place_in_the_order_of_the_end() -> None:
    assert sorted(STOP_ORDER) == sorted([*SERVICES, "nats-server"])
    assert {service_of(spec.name) for spec in plan("parser=3").services()} <= set(STOP_ORDER)


def test_every_service_sends_its_spans_to_the_first_persistence_unless_the_caller_says_where() -> None:
    specs = plan("persistence=2").services()
    ports = {spec.name: spec.environment["RAG_PORT"] for spec in specs}
    wanted = f"http://127.0.0.1:{ports['persistence.1']}"
    assert {spec.environment["RAG_OTLP_ENDPOINT"] for spec in specs} == {wanted}
    elsewhere = plan(RAG_OTLP_ENDPOINT="http://collector:4318").services()
    assert {spec.environment["RAG_OTLP_ENDPOINT"] for spec in elsewhere} == {"http://collector:4318"}


def test_a_prometheus_gets_every_process_under_its_service_and_its_name() -> None:
    found = scrape_targets(plan("embedder=2"))
    assert len(found) == 8
    assert found[0] == {"targets": ["127.0.0.1:8000"], "labels": {"service": "gateway", "instance": "gateway"}}
    assert found[3] == {"targets": ["127.0.0.1:8103"], "labels": {"service": "embedder", "instance": "embedder.2"}}
    assert found[-1]["labels"] == {"service": "embedder", "instance": "embedder.queries"}


@pytest.mark.parametrize(("auth", "said"), [("jwt", False), ("keys", True), ("keys,jwt", True), ("off", False)])
def test_who_needs_a_key_is_told_how_to_make_the_first_one(auth: str, said: bool) -> None:
    lines = ready_lines(plan(RAG_AUTH=auth), Ready(pids={}, seconds=1.0))
    assert ("  keys      rag keys create --data /data" in lines) == said
