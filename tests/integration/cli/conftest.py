"""Runs commands against the fake gateway."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from services.cli.main import main
from tests.integration.cli.fake_gateway import FakeGateway, Output, Rag


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    fake = FakeGateway()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fake.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = uvicorn.Server(uvicorn.Config(fake.app(), lifespan="off", log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield fake
        server.should_exit = True
        thread.join()


@pytest.fixture(autouse=True)
def _plain_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("RAG_URL", "COLUMNS", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAG_DATA_DIR", str(tmp_path / "data"))


@pytest.fixture
def rag(gateway: FakeGateway, capsys: pytest.CaptureFixture[str]) -> Rag:
    def run(command: str, *arguments: str) -> Output:
        code = main([command, *arguments, "--url", gateway.url])
        printed = capsys.readouterr()
        return Output(code, printed.out, printed.err)

    return run
