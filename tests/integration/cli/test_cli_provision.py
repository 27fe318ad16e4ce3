"""`rag provision` against a real broker."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import nats
import pytest

from services.cli.main import main
from tests.servers import NatsServer, child_environment


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
    assert any(line.startswith("stream INGEST: created, its sequence begins at 1") for line in changes)
    assert run(capsys, "--nats-url", bare_nats.url) == (0, [])
    assert run(capsys, "--check", "--nats-url", bare_nats.url) == (0, [])


def test_who_stays_declares_again_what_a_restarted_broker_has_lost(bare_nats: NatsServer) -> None:
    command = [sys.executable, "-m", "services.cli.main", "provision", "--json", "--keep", "--nats-url", bare_nats.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=child_environment(), text=True) as process:
        assert process.stdout is not None
        try:
            first = json.loads(process.stdout.readline())["changes"]
            assert any(line.startswith("stream INGEST: created") for line in first)
            bare_nats.kill()
            bare_nats.start()
            again = json.loads(process.stdout.readline())["changes"]
        finally:
            process.terminate()
    assert any(line.startswith("stream ANSWERS: created") for line in again)
    assert any(line.startswith("stream QUERIES: created") for line in again)
    assert not any("INGEST" in line for line in again), "what lies on the disk was not lost"


def test_who_stays_ends_when_there_was_no_broker_to_begin_with(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["provision", "--keep", "--nats-url", "nats://127.0.0.1:1"]) == 1
    assert capsys.readouterr().err.startswith("rag: no broker at nats://127.0.0.1:1 (")


def test_what_somebody_removed_is_found_and_mended(nats_broker: NatsServer, capsys: pytest.CaptureFixture[str]) -> None:
    async def remove() -> None:
        client = await nats.connect(nats_broker.url)
        await client.jetstream().delete_consumer("INGEST", "parser")
        await client.close()

    asyncio.run(remove())
    assert run(capsys, "--check", "--nats-url", nats_broker.url) == (1, ["consumer parser: missing"])
    assert run(capsys, "--nats-url", nats_broker.url) == (0, ["consumer parser: created"])


def test_ingest_is_renewed_only_with_force_when_messages_are_lost_by_it(
    nats_broker: NatsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    async def publish() -> int:
        client = await nats.connect(nats_broker.url)
        ack = await client.jetstream().publish("rag.v1.ingest.default", b"{}")
        await client.close()
        return ack.seq

    before = asyncio.run(publish())
    assert main(["provision", "--renew-ingest", "--nats-url", nats_broker.url]) == 1
    assert "INGEST holds 1 messages, which would be lost" in capsys.readouterr().err
    assert asyncio.run(publish()) == before + 1
    code, changes = run(capsys, "--renew-ingest", "--force", "--nats-url", nats_broker.url)
    assert (code, changes[0]) == (0, "stream INGEST: removed, with 2 messages")
    assert asyncio.run(publish()) > 1_700_000_000_000_000
    assert run(capsys, "--check", "--nats-url", nats_broker.url) == (0, [])


def test_a_broker_that_is_not_there_is_named_without_its_password(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["provision", "--nats-url", "nats://me:secret@127.0.0.1:1"]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("rag: no broker at nats://127.0.0.1:1 (")
    assert "secret" not in printed
    assert printed.count("\n") == 1
