"""`rag provision --producer` and `--tool` against a running broker with the launcher's configuration."""

import asyncio
import json
import stat
from collections.abc import Iterator
from pathlib import Path

import nats
import pytest

from contracts import subjects
from contracts.permissions import PLATFORM
from services.cli.data_folder import DataFolder
from services.cli.main import main
from shared.messaging.broker import settle
from shared.messaging.provisioning import provision
from tests.broker_stand import Violations
from tests.local_broker import LocalBroker, local_broker


@pytest.fixture
def local(tmp_path: Path) -> Iterator[LocalBroker]:
    with local_broker(tmp_path) as running:
        yield running


async def rag(*arguments: str) -> int:
    """Run the command beside this event loop."""
    return await asyncio.to_thread(main, ["provision", *arguments])


async def test_a_producer_is_let_in_while_the_broker_runs_and_shut_out_when_revoked(
    local: LocalBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    platform = await local.connect(PLATFORM)
    await provision(platform.jetstream(), replicas=1)
    options = ("--producer", "acme", "--data", str(local.data.root), "--json")
    assert await rag(*options) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["nats_url"], made["inbox_prefix"]) == (local.url, "_INBOX_producer-acme")
    violations, closed = Violations(), asyncio.Event()

    async def on_closed() -> None:
        closed.set()

    producer = await nats.connect(
        made["nats_url"],
        user=made["user"],
        password=made["password"],
        inbox_prefix=made["inbox_prefix"],
        error_cb=violations.add,
        closed_cb=on_closed,
        allow_reconnect=False,
    )
    assert (await producer.jetstream().publish(subjects.ingest("acme"), b"{}")).stream == "INGEST"
    await producer.publish(subjects.ingest("other"), b"{}")
    await settle(producer)
    assert violations.of("publish") == {"rag.v1.ingest.other"}
    assert await rag(*options) == 0
    assert json.loads(capsys.readouterr().out) == made, "asked again, the same user"
    assert await rag(*options, "--revoke") == 0
    await asyncio.wait_for(closed.wait(), 10)
    assert platform.stats["reconnects"] == 0, "nobody else was disturbed"
    await platform.close()


async def test_its_password_is_the_owners_to_read_and_stays(
    local: LocalBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await rag("--tool", "temperature", "--data", str(local.data.root)) == 0
    text = capsys.readouterr().out
    path = local.data.password_file("tool-temperature")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(local.data.broker_config.stat().st_mode) == 0o600
    assert path.read_text().strip() in text
    assert "rag.v1.tools.temperature $SRV.>" in text
    assert local.data.passwords()["tool-temperature"] == path.read_text().strip(), "the next `rag up` knows it"


def test_the_users_file_for_a_broker_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["provision", "--users-file", "--producer", "acme", "--producer", "b", "--tool", "temperature"]) == 0
    text = capsys.readouterr().out
    for user in ("PRODUCER_ACME", "PRODUCER_B", "TOOL_TEMPERATURE", "GATEWAY"):
        assert f'"password": $NATS_PASSWORD_{user},' in text
    assert '"rag.v1.ingest.acme"' in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--producer", "a.*"), "of the form"),
        (("--tool", "UPPER"), "of the form"),
        (("--producer", "a", "--tool", "b"), "one user at a time"),
        (("--producer", "a", "--producer", "b"), "one user at a time"),
    ],
)
def test_names_that_cannot_be(
    arguments: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["provision", *arguments, "--data", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_of_no_platform(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["provision", "--producer", "a", "--data", str(tmp_path)]) == 1
    assert "run `rag up` once" in capsys.readouterr().err


def test_a_user_that_was_never_made_is_not_revoked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    DataFolder(tmp_path).create()
    assert main(["provision", "--producer", "a", "--revoke", "--data", str(tmp_path)]) == 1
    assert "no user producer-a" in capsys.readouterr().err
