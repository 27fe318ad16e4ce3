"""What figures have to be read with, beside the machine: versions of what was measured."""

import subprocess
from importlib.metadata import version
from typing import Final

from shared.version import VERSION
from tests.platform_process import PROJECT
from tests.servers import nats_server_binary

PACKAGES: Final = ("fastapi", "nats-py", "numpy", "onnxruntime", "qdrant-edge-py", "uvicorn", "uvloop")


def versions() -> dict[str, str]:
    """Return name -> version: the platform, its commit where there is one, the broker, and libraries."""
    broker = subprocess.run([nats_server_binary(), "--version"], capture_output=True, text=True, check=True)
    return {
        "platform": VERSION,
        "commit": _commit(),
        "nats-server": broker.stdout.strip().rpartition(" ")[2],
        **{name: version(name) for name in PACKAGES},
    }


def _commit() -> str:
    asked = ["git", "-C", str(PROJECT), "rev-parse", "--short", "HEAD"]
    try:
        found = subprocess.run(asked, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "unknown"
    return found.stdout.strip() or "unknown"
