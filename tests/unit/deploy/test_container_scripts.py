"""What runs inside of the containers beside the services."""

import json
import re
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from deploy.docker import first_start
from services.cli.data_folder import DataFolder
from tests.certificates import Authority
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


class Server(HTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a caller without a certificate."""


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[int]:
    with Server(("127.0.0.1", 0), Health) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def port() -> Iterator[int]:
    with serving() as found:
        yield found


def probe(port: int, path: str, *folder: Path) -> tuple[int, str]:
    command = [sys.executable, "-IS", str(PROBE), str(port), path, *map(str, folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return done.returncode, done.stdout


def test_the_probe_passes_for_a_200_and_tells_any_other_answer(port: int) -> None:
    assert probe(port, "/live") == (0, "")
    assert probe(port, "/ready") == (1, '/ready: 503 {"path": "/ready"}\n')


def test_the_probe_says_that_nothing_answers() -> None:
    code, said = probe(free_port(), "/live")
    assert code == 1
    assert re.match(r"nothing answers on port \d+: .*refused\n$", said)


def test_the_probe_shows_a_certificate_to_a_gateway_that_asks_callers_for_one(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    served, own = authority.certificate("gateway", "rag.example.com"), authority.certificate("tls", "probe")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.ca)
    context.load_cert_chain(served.cert, served.key)
    context.verify_mode = ssl.CERT_REQUIRED
    with serving(context) as port:
        assert probe(port, "/ready", own.cert.parent) == (1, '/ready: 503 {"path": "/ready"}\n')
        assert probe(port, "/live", own.cert.parent) == (0, "")
        assert probe(port, "/live")[0] == 1
        other = Authority(tmp_path / "other").certificate("tls", "probe")
        assert probe(port, "/live", other.cert.parent)[0] == 1


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
