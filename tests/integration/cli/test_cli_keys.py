"""`rag keys`, and the key that every command calls with."""

import json
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from services.cli.main import main
from shared.api_keys import is_key, key_id_of

KEY = "rag_abcdefghijkl_secret"


@dataclass
class Listener:
    """Says 401 to everything, and remembers who asked for what."""

    url: str = ""
    heard: list[tuple[str, str, str | None]] = field(default_factory=list)


@pytest.fixture
def listener() -> Iterator[Listener]:
    found = Listener()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            found.heard.append((self.command, self.path.partition("?")[0], self.headers.get("Authorization")))
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = json.dumps({"code": "unauthenticated", "detail": "send a key", "trace_id": "t"}).encode()
            self.send_response(401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = answer

        def log_message(self, *_arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield found
        server.shutdown()
        thread.join()


COMMANDS = (
    ["ask", "x"],
    ["conversations", "list"],
    ["dead-letters", "list"],
    ["audit"],
    ["documents"],
    ["ingest", "."],
    ["keys", "list"],
    ["reindex"],
    ["search", "x"],
    ["status"],
    ["trace"],
)


@pytest.fixture(autouse=True)
def _folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Water boils.")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_every_command_calls_with_its_key(listener: Listener, command: list[str]) -> None:
    assert main([*command, "--url", listener.url, "--key", KEY]) != 0
    assert {header for *_, header in listener.heard} == {f"Bearer {KEY}"}


@pytest.mark.parametrize("way", ["before the command", "environment", "file"])
def test_the_key_may_come_otherwise(
    listener: Listener, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str
) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    arguments = ["--url", listener.url, "documents"]
    if way == "environment":
        monkeypatch.setenv("RAG_API_KEY", KEY)
    elif way == "file":
        monkeypatch.setenv("RAG_API_KEY_FILE", str(tmp_path / "key"))
    else:
        arguments = ["--key", KEY, *arguments]
    main(arguments)
    assert [header for *_, header in listener.heard] == [f"Bearer {KEY}"]


def test_a_key_of_one_command_is_not_that_of_the_next(listener: Listener) -> None:
    main(["documents", "--url", listener.url, "--key", KEY])
    main(["documents", "--url", listener.url])
    assert [header for *_, header in listener.heard] == [f"Bearer {KEY}", None]


def test_what_cannot_be_a_key_is_not_sent(listener: Listener, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["documents", "--url", listener.url, "--key", "two words\n"]) == 2
    assert "one word" in capsys.readouterr().err
    assert not listener.heard


def test_a_refused_key_is_told_how_the_first_one_is_made(
    listener: Listener, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keys", "create", "--url", listener.url]) == 1
    assert "rag keys create --data DIR" in capsys.readouterr().err


def test_a_whole_key_that_is_pasted_to_be_revoked_does_not_travel(listener: Listener) -> None:
    main(["keys", "revoke", KEY, "--url", listener.url])
    assert listener.heard == [("DELETE", "/v1/admin/keys/abcdefghijkl", None)]


def test_the_first_key_is_made_in_an_empty_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data = tmp_path / "new"
    options = ["--tenant", "acme", "--scopes", "admin,query,admin", "--expires", "2h", "--json"]
    assert main(["keys", "create", "--data", str(data), *options]) == 0
    made = json.loads(capsys.readouterr().out)
    pepper = data / "secrets" / "keys.pepper"
    assert stat.S_IMODE(pepper.stat().st_mode) == 0o600
    assert (made["tenant"], made["scopes"], made["id"]) == ("acme", ["admin", "query"], key_id_of(made["key"]))
    assert not is_key(pepper.read_text().strip(), made["key"], "0" * 64)
    stored = b"".join(path.read_bytes() for path in data.glob("rag.db*"))
    assert made["id"].encode() in stored
    assert made["key"].encode() not in stored
    assert made["key"].split("_", 2)[2].encode() not in stored
    assert main(["keys", "revoke", made["prefix"], "--data", str(data)]) == 0
    assert main(["keys", "list", "--data", str(data)]) == 0
    assert "revoked" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--scopes", "root"], "--scopes takes"),
        (["--scopes", ""], "--scopes takes"),
        (["--expires", "soon"], "--expires takes"),
        (["--tenant", "A B"], "tenant"),
    ],
    ids=str,
)
def test_a_wrong_wish_is_refused_in_one_line(
    options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keys", "create", "--data", str(tmp_path / "new"), *options]) != 0
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
