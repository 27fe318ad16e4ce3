"""`rag provision` against a real broker."""

import asyncio
import json
from pathlib import Path

import nats
import pytest

from services.cli.main import main
from tests.servers import NatsServer


@pytest.fixture(autouse=True)
def _no_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAG_DATA_DIR", str(tmp_path))


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str]]:
    code = main(["provision", "--json", *arguments])
    reply = json.loads(capsys.readouterr().out)
    return code, reply.get("changes", reply.get("differences"))


def test_an_empty_broker_gets_everything_once(bare_nats: NatsServer, capsys: pytest.CaptureFixture[str]) -> None:
    code, missing = run(capsys, "--check", "--nats-url", bare_nats.url)
    assert code == 1
    assert "stream INGEST: missing" in missing
    code, changes = run(capsys, "--nats-url", bare_nats.url)
    assert code == 0
    assert "stream INGEST: created" in changes
    assert run(capsys, "--nats-url", bare_nats.url) == (0, [])
    assert run(capsys, "--check", "--nats-url", bare_nats.url) == (0, [])


def test_what_somebody_removed_is_found_and_mended(nats_broker: NatsServer, capsys: pytest.CaptureFixture[str]) -> None:
    async def remove() -> None:
        client = await nats.connect(nats_broker.url)
        await client.jetstream().delete_consumer("INGEST", "parser")
        await client.close()

    asyncio.run(remove())
    assert run(capsys, "--check", "--nats-url", nats_broker.url) == (1, ["consumer parser: missing"])
    assert run(capsys, "--nats-url", nats_broker.url) == (0, ["consumer parser: created"])


def test_a_broker_that_is_not_there_is_named_without_its_password(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["provision", "--nats-url", "nats://me:secret@127.0.0.1:1"]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("rag: no broker at nats://127.0.0.1:1 (")
    assert "secret" not in printed
    assert printed.count("\n") == 1
