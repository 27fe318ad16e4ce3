"""The commands of docs/broker-security.md that need no broker; that users are let in: test_cli_broker_users.py."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from shared.settings import PROJECT_ROOT

pytestmark = pytest.mark.timeout(120)

PAGE = (PROJECT_ROOT / "docs" / "broker-security.md").read_text(encoding="utf-8")
_, CLUSTER = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
(SNIPPET,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_s_python_can_be_run() -> None:
    compile(SNIPPET, "broker-security.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_the_users_of_a_cluster_are_written_with_variables_for_their_passwords(tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-ec", CLUSTER], cwd=tmp_path, env=environment, timeout=60, check=True)
    written = (tmp_path / "users.conf").read_text()
    for name in ("producer-acme", "tool-temperature", "$NATS_PASSWORD_GATEWAY"):
        assert name in written
