"""The commands of docs/broker-security.md do what the page says, on a broker such as `rag up` runs."""

import ast
import asyncio
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nats
import pytest

from contracts.permissions import PLATFORM
from shared.messaging.provisioning import provision
from shared.settings import PROJECT_ROOT
from tests.local_broker import LocalBroker, local_broker

# Four commands, each a process of its own.
pytestmark = pytest.mark.timeout(180)

PAGE = (PROJECT_ROOT / "docs" / "broker-security.md").read_text(encoding="utf-8")
LOCAL, CLUSTER = (
    [line for line in block.splitlines() if line.strip()] for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
)
(SNIPPET,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
COMMAND_SECONDS = 60


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[LocalBroker]:
    with local_broker(tmp_path / "data") as running:
        yield running


async def shell(command: str, folder: Path) -> str:
    """Run a command of the page in a folder whose `.rag` is its data folder; return what it prints."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "NO_COLOR": "1"}
    done = await asyncio.to_thread(
        subprocess.run,
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return str(done.stdout)


async def run_snippet(**names: Any) -> dict[str, Any]:
    """Run the page's Python, which awaits outside of any function; return its names."""
    code = compile(SNIPPET, "broker-security.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    found: dict[str, Any] = {"nats": nats, **names}
    result = eval(code, found)
    assert inspect.iscoroutine(result)
    await result
    return found


async def test_a_producer_and_a_tool_are_made_used_and_revoked(broker: LocalBroker, tmp_path: Path) -> None:
    platform = await broker.connect(PLATFORM)
    await provision(platform.jetstream(), replicas=1)
    (tmp_path / ".rag").symlink_to(broker.data.root)
    make, make_tool, revoke = LOCAL
    told = await shell(make, tmp_path)
    password = broker.data.password("producer-acme")
    for part in ("producer-acme", password, broker.url, "_INBOX_producer-acme"):
        assert part in told
    assert "tool-temperature" in await shell(make_tool, tmp_path)

    made = await run_snippet(nats_url=broker.url, password=password)
    stored = await platform.jetstream().get_last_msg("INGEST", "rag.v1.ingest.acme")
    assert stored.data is not None
    assert b"handbook-7" in stored.data

    await made["client"].close()
    await platform.close()

    # That it is shut out from then on: test_cli_broker_users.py.
    assert "producer-acme" in broker.data.broker_config.read_text()
    await shell(revoke, tmp_path)
    assert "producer-acme" not in broker.data.broker_config.read_text()
    assert not broker.data.password_file("producer-acme").exists()


async def test_the_users_of_a_cluster_are_written_with_variables_for_their_passwords(tmp_path: Path) -> None:
    (command,) = CLUSTER
    await shell(command, tmp_path)
    written = (tmp_path / "users.conf").read_text()
    for name in ("producer-acme", "tool-temperature", "$NATS_PASSWORD_GATEWAY"):
        assert name in written
