"""The command line itself: addresses, wrong arguments, exit codes."""

import json
from pathlib import Path

import pytest

from services.cli.main import main
from shared.version import VERSION
from tests.integration.cli.fake_gateway import FakeGateway, Rag, corpus
from tests.integration.cli.fake_letters import TRACE_ID


def test_a_gateway_that_is_not_there_is_said_at_once(rag: Rag, gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.url = "http://127.0.0.1:1"
    for command in (("search", "x"), ("ingest", corpus(tmp_path, "a")), ("status",)):
        told = rag(*command)
        assert (told.code, told.out) == (1, "")
        assert told.err == "rag: no gateway at http://127.0.0.1:1; start it with `rag up`, or name another with --url\n"


@pytest.mark.parametrize("place", ["before", "variable"])
def test_the_address_may_stand_before_the_command_or_in_a_variable(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    if place == "variable":
        monkeypatch.setenv("RAG_URL", gateway.url)
    before = ["--url", gateway.url] if place == "before" else []
    assert main([*before, "--json", "search", "x"]) == 0
    assert json.loads(capsys.readouterr().out)["trace_id"] == TRACE_ID


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["search"], "Missing argument 'QUERY'"),
        (["search", "x", "--nonsense"], "No such option: --nonsense"),
        (["search", "x", "--filter", "{"], "--filter is not JSON"),
        (["search", "x", "--url", "localhost:8000"], "--url must be an address such as http://127.0.0.1:8000"),
        (["ingest", "/no/such/path"], "'/no/such/path' does not exist"),
        (["documents", "--status", "lost"], "lost"),
        (["up", "--scale", "retriever=2"], "set RAG_QDRANT_URL"),
        (["up", "--port", "70000"], "--port"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("rag: ")
    assert printed.err.count("\n") == 1
    assert reason in printed.err


def test_a_setting_that_is_wrong_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAG_NATS_REPLICAS", "many")
    assert main(["up"]) == 1
    assert capsys.readouterr().err.startswith("rag: RAG_NATS_REPLICAS: ")


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"rag {VERSION}\n"
