"""A llama.cpp server with a small model, started for tests by those who fetched both."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.local.language_model import engine_path, model_path
from shared.models import DEFAULT_MODELS_DIR
from tests.servers import child_environment

SERVE = Path(__file__).with_name("serve_llama.py")
START_SECONDS = 90.0
STOP_SECONDS = 30.0


@dataclass(frozen=True)
class LlamaServer:
    """A running server: its root address, the model's name, and the tokens of its window."""

    address: str
    model: str
    window_tokens: int

    @property
    def base_url(self) -> str:
        """Return the address as clients of OpenAI want it."""
        return f"{self.address}/v1"


@contextlib.contextmanager
def llama_server(log: Path, *, model: str, window_tokens: int) -> Iterator[LlamaServer]:
    """Run a server until the block ends; RuntimeError, with what to do, when it cannot be started."""
    models_dir = Path(os.environ.get("RAG_MODELS_DIR") or DEFAULT_MODELS_DIR)
    gguf, engine = model_path(models_dir), engine_path(models_dir)
    if not gguf.exists() or not engine.exists():
        raise RuntimeError(f"{gguf.parent} or {engine} is missing: `make test-llm` fetches them")
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, str(SERVE), str(gguf), model, str(window_tokens)],
            env=child_environment(PYTHONPATH=str(engine)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        yield LlamaServer(_address(process, log), model, window_tokens)
    finally:
        _stop(process)


def _address(process: subprocess.Popen[str], log: Path) -> str:
    assert process.stdout is not None
    timer = threading.Timer(START_SECONDS, process.kill)
    timer.start()
    line = process.stdout.readline().strip()
    timer.cancel()
    if not line:
        raise RuntimeError(f"llama.cpp did not start:\n{log.read_text(errors='replace')[-2000:]}")
    return line


def _stop(process: subprocess.Popen[str]) -> None:
    """End its standard input, which ends the process, and wait for that."""
    try:
        process.communicate(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
