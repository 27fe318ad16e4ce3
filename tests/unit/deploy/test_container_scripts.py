"""What runs inside of the containers beside the services."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from deploy.docker import first_start
from services.cli.data_folder import DataFolder
from tests.servers import free_port

PROJECT = Path(__file__).resolve().parents[3]
PROBE = PROJECT / "deploy" / "docker" / "probe.py"


class Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/live" else 503)
        self.end_headers()
        self.wfile.write(json.dumps({"path": self.path}).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Health) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def probe(port: int, path: str) -> tuple[int, str]:
    command = [sys.executable, "-IS", str(PROBE), str(port), path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return done.returncode, done.stdout


def test_the_probe_passes_for_a_200_and_tells_any_other_answer(port: int) -> None:
    assert probe(port, "/live") == (0, "")
    assert probe(port, "/ready") == (1, '/ready: 503 {"path": "/ready"}\n')


def test_the_probe_says_that_nothing_answers() -> None:
    code, said = probe(free_port(), "/live")
    assert code == 1
    assert re.match(r"nothing answers on port \d+: .*refused\n$", said)


def test_a_first_start_shows_a_key_and_later_ones_show_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = DataFolder(tmp_path)
    data.create()
    first_start.show_first_key(data)
    [key] = re.findall(r"^    RAG_API_KEY=(rag_\S+)$", capsys.readouterr().out, re.MULTILINE)
    first_start.show_first_key(data)
    assert capsys.readouterr().out == ""
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert not any(key.encode() in content for content in kept.values())
    assert kept[tmp_path / "first-key"].decode().strip() == key.split("_")[1]


@pytest.mark.parametrize(
    ("mode", "command", "makes"),
    [("keys", ["rag", "up"], True), ("jwt", ["rag", "up"], False), ("keys", ["rag", "status"], False)],
)
def test_a_key_is_made_only_for_a_platform_that_asks_for_keys(
    mode: str, command: list[str], makes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []
    started: list[list[str]] = []
    monkeypatch.setenv("RAG_AUTH", mode)
    monkeypatch.setenv("RAG_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(first_start, "show_first_key", lambda data: made.append(data.root))
    monkeypatch.setattr("os.execvp", lambda _program, words: started.append(words))
    first_start.main(command)
    assert made == ([tmp_path] if makes else [])
    assert started == [command]


def test_a_first_start_that_cannot_be_ends_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RAG_AUTH", "keys")
    monkeypatch.setenv("RAG_DATA_DIR", str(tmp_path / "file" / "data"))
    assert first_start.main(["rag", "up"]) == 1
    assert capsys.readouterr().err.startswith(f"rag: the data folder {tmp_path}/file/data cannot be used: ")
