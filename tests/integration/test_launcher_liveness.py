"""A child process that is there but does not live is ended, and so started again."""

import asyncio
import io
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest

from services.cli.errors import CommandError
from services.cli.gateway_tls import probe_context
from services.cli.liveness import keep_alive
from services.cli.process_logs import LineWriter, ProcessLog
from services.cli.settings import LauncherSettings
from services.cli.supervisor import ProcessSpec, RestartPolicy, SupervisedProcess
from tests.certificates import Authority
from tests.running import eventually
from tests.servers import free_port

QUICK = RestartPolicy(first_seconds=0.01, longest_seconds=0.03, healthy_after_seconds=60)
PROBE_SECONDS = 0.1
BOUND_SECONDS = 1.5
# It answers what the file says, 200 without one.
SERVER = """
import http.server, pathlib, ssl, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        told = pathlib.Path(sys.argv[2])
        self.send_response(int(told.read_text()) if told.exists() else 200)
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer)
if sys.argv[3:]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=sys.argv[5])
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(*sys.argv[3:5])
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


class Child:
    """A supervised server."""

    def __init__(
        self, process: SupervisedProcess, answer: Path, said: list[str], tls: ssl.SSLContext | None = None
    ) -> None:
        self.process, self.answer, self.said, self.tls = process, answer, said, tls

    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    async def lives(self) -> bool:
        async with httpx.AsyncClient(timeout=1, verify=self.tls or True) as http:
            try:
                return (await http.get(self.process.spec.live_url)).is_success
            except httpx.TransportError:
                return False


@asynccontextmanager
async def kept_alive(
    folder: Path, files: Sequence[Path] = (), tls: ssl.SSLContext | None = None
) -> AsyncIterator[Child]:
    """Keep a server alive; with the `files` of its TLS it is asked by https."""
    terminal, said = LineWriter(io.StringIO()), list[str]()
    log = ProcessLog("one", folder, terminal, "one |")
    url, answer = f"http{'s' if files else ''}://127.0.0.1:{(port := free_port())}/live", folder / "answer"
    command = (sys.executable, "-c", SERVER, str(port), str(answer), *map(str, files))
    process = SupervisedProcess(ProcessSpec("one", command, dict(os.environ), url, url), log, said.append, policy=QUICK)
    process.was_ready = True
    running = asyncio.create_task(process.run())
    watching = asyncio.create_task(
        keep_alive([process], BOUND_SECONDS, said.append, probe_seconds=PROBE_SECONDS, tls=tls)
    )
    child = Child(process, answer, said, tls)
    try:
        await eventually(child.lives, "the child answers")
        await asyncio.sleep(3 * PROBE_SECONDS)  # Its first good answer has been seen.
        yield child
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        process.kill()
        await running
        log.close()
        terminal.close()


def replaced(child: Child, pid: int) -> Callable[[], bool]:
    return lambda: child.process.pid not in (pid, None)


async def test_a_child_that_is_stopped_and_never_goes_on_is_replaced(tmp_path: Path) -> None:
    async with kept_alive(tmp_path) as child:
        pid = child.pid()
        os.kill(pid, signal.SIGSTOP)
        await eventually(replaced(child, pid), "another process runs", 30)
        await eventually(child.lives, "it answers")
    assert "one did not answer for" in child.said[0]
    assert "is killed" in child.said[0]
    assert "signal SIGKILL" in child.said[1]


async def test_a_child_that_says_that_it_does_not_live_is_replaced(tmp_path: Path) -> None:
    async with kept_alive(tmp_path) as child:
        pid = child.pid()
        child.answer.write_text("503")
        await eventually(replaced(child, pid), "another process runs", 30)
    assert "one was not live for" in child.said[0]


async def test_a_child_that_speaks_mutual_tls_in_the_name_of_somewhere_else_is_watched_as_well(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    public, ours = authority.certificate("public", "rag.example.org"), authority.certificate("ours")
    settings = LauncherSettings(
        gateway_tls_cert=public.cert,
        gateway_tls_key=public.key,
        gateway_tls_client_ca=authority.ca,
        tls_cert=ours.cert,
        tls_key=ours.key,
    )
    async with kept_alive(tmp_path, (public.cert, public.key, authority.ca), probe_context(settings)) as child:
        pid = child.pid()
        child.answer.write_text("503")
        await eventually(replaced(child, pid), "another process runs", 30)
    assert "one was not live for" in child.said[0]


def test_a_gateway_that_would_not_let_its_launcher_in_is_not_started(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    own = authority.certificate("own")
    settings = LauncherSettings(gateway_tls_cert=own.cert, gateway_tls_key=own.key, gateway_tls_client_ca=authority.ca)
    with pytest.raises(CommandError, match="RAG_TLS_CERT and RAG_TLS_KEY"):
        probe_context(settings)


async def test_a_child_that_recovers_within_the_bound_is_left_alone(tmp_path: Path) -> None:
    async with kept_alive(tmp_path) as child:
        pid = child.pid()
        for _ in range(3):
            child.answer.write_text("503")
            await asyncio.sleep(BOUND_SECONDS / 2)  # The time itself is what is tested.
            child.answer.unlink()
            await asyncio.sleep(4 * PROBE_SECONDS)
        assert child.pid() == pid
    assert child.said == []
