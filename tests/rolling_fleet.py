"""A platform of single processes that are replaced one after another, as a rolling update of a cluster does it.

The environment of every process is the one that `rag up` plans. Nobody starts a process again here: what ends stays
ended, so that a test sees who ended, and how.
"""

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import httpx

from contracts.permissions import PROVISIONER
from services.cli.broker_config import BrokerOptions, broker_config
from services.cli.data_folder import DataFolder
from services.cli.plan import Plan
from services.cli.ports import LOOPBACK, PortOptions, choose_ports
from services.cli.supervisor import ProcessSpec
from tests.platform_process import PROJECT, rag
from tests.running import eventually
from tests.servers import child_environment, free_port, wait_for_port

READY_SECONDS: Final = 90.0
# Longer than the bound on draining that every process gets, and the 15 s within which it then closes.
END_SECONDS: Final = 60.0
DRAIN_SECONDS: Final = "30"
HEALTH_PORTS: Final = 8


@dataclass
class Replica:
    """One process of a service, with everything that it logged."""

    name: str
    spec: ProcessSpec
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        """Return where it answers."""
        return self.spec.ready_url.removesuffix("/ready")

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Return its log lines of one event."""
        lines = (json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{"))
        return [line for line in lines if line.get("event") == event]

    async def is_ready(self, http: httpx.AsyncClient) -> bool:
        """Tell whether it takes work; AssertionError when it has ended instead."""
        assert self.process.poll() is None, f"{self.name} ended: {self.log.read_text()[-2000:]}"
        try:
            return (await http.get(self.spec.ready_url)).status_code == 200
        except httpx.TransportError:
            return False


@dataclass
class Fleet:
    """A broker and the replicas that run now, by the name of what they are a replica of."""

    plan: Plan
    http: httpx.AsyncClient
    running: dict[str, Replica] = field(default_factory=dict)
    ended: list[Replica] = field(default_factory=list)
    _started: int = 0

    @property
    def url(self) -> str:
        """Return the address of the present gateway."""
        return self.running["gateway"].url

    async def start_all(self) -> None:
        """Start one replica of every service and wait until all take work."""
        self.running = {spec.name: self._start(spec) for spec in self.plan.services()}
        await asyncio.gather(*(self._ready(replica) for replica in self.running.values()))

    async def start_beside(self, name: str) -> Replica:
        """Return a new replica beside the present one, on a port of its own, once it takes work."""
        replica = self._start(self._renewed(self.running[name].spec))
        await self._ready(replica)
        return replica

    async def end(self, replica: Replica) -> float:
        """Ask a replica to end and return the seconds that it took; it ends by itself and in order."""
        asked = time.monotonic()
        replica.process.send_signal(signal.SIGTERM)
        await eventually(lambda: replica.process.poll() is not None, f"{replica.name} has ended", END_SECONDS)
        self.ended.append(replica)
        assert replica.process.returncode == 0, replica.log.read_text()[-2000:]
        return time.monotonic() - asked

    async def replace(self, name: str) -> None:
        """Start a new replica, wait until it takes work, then end the old one."""
        new = await self.start_beside(name)
        old, self.running[name] = self.running[name], new
        await self.end(old)

    async def replace_owner(self, name: str) -> float:
        """End the only replica that may run, then start the next one; return the seconds without any."""
        began = time.monotonic()
        await self.end(self.running[name])
        self.running[name] = self._start(self._renewed(self.running[name].spec))
        await self._ready(self.running[name])
        return time.monotonic() - began

    def kill_all(self) -> None:
        """End everything that still runs, at once."""
        for replica in self.running.values():
            replica.process.kill()
            replica.process.wait(END_SECONDS)

    async def _ready(self, replica: Replica) -> None:
        await eventually(lambda: replica.is_ready(self.http), f"{replica.name} takes work", READY_SECONDS)

    def _renewed(self, spec: ProcessSpec) -> ProcessSpec:
        port = str(free_port())
        environment = {**spec.environment, "RAG_PORT": port, "RAG_INSTANCE": f"{spec.name}-{self._started}"}
        url = f"http://{LOOPBACK}:{port}"
        return replace(spec, environment=environment, ready_url=f"{url}/ready", live_url=f"{url}/live")

    def _start(self, spec: ProcessSpec) -> Replica:
        self._started += 1
        log = self.plan.data.logs / f"{spec.name}-{self._started}.log"
        environment = {**spec.environment, "RAG_LOG_FORMAT": "json"}
        with log.open("wb") as output:
            process = subprocess.Popen(spec.command, cwd=PROJECT, env=environment, stdout=output, stderr=output)
        return Replica(spec.name, spec, process, log)


@asynccontextmanager
async def running_fleet(data: Path, **settings: str) -> AsyncIterator[Fleet]:
    """Run a provisioned broker with one replica of every service until the block ends."""
    plan = _plan(data, settings)
    with _broker(plan):
        _provision(plan)
        async with httpx.AsyncClient(timeout=5) as http:
            fleet = Fleet(plan, http)
            try:
                await fleet.start_all()
                yield fleet
            finally:
                fleet.kill_all()


def _plan(data: Path, settings: dict[str, str]) -> Plan:
    folder = DataFolder(data)
    folder.create()
    services = ("gateway", "parser", "embedder", "retriever", "agent", "persistence")
    environment = child_environment(RAG_DRAIN_SECONDS=DRAIN_SECONDS, RAG_OTLP_ENDPOINT="", **settings)
    return Plan(
        host=LOOPBACK,
        ports=choose_ports(PortOptions(gateway=0), LOOPBACK, HEALTH_PORTS),
        data=folder,
        replicas=dict.fromkeys(services, 1),
        environment=environment,
        models_dir=Path(os.environ.get("RAG_MODELS_DIR", str(PROJECT / ".models"))),
    )


@contextmanager
def _broker(plan: Plan) -> Iterator[None]:
    """Run the broker with the users and permissions of an installation."""
    plan.data.pepper()
    options = BrokerOptions(
        port=plan.ports.broker,
        monitor_port=plan.ports.monitor,
        store=plan.data.broker,
        passwords=plan.data.passwords(),
    )
    plan.data.broker_config.write_text(broker_config(options))
    spec = plan.broker()
    process = subprocess.Popen(spec.command, env=dict(spec.environment), stderr=subprocess.DEVNULL)
    try:
        wait_for_port(plan.ports.broker, process)
        yield
    finally:
        process.terminate()
        process.wait(END_SECONDS)


def _provision(plan: Plan) -> None:
    """Declare the streams with the command of the topology job, as the user that the job has."""
    done = rag(
        "provision",
        settings={
            "RAG_NATS_URL": plan.broker_url,
            "RAG_NATS_USER": PROVISIONER,
            "RAG_NATS_PASSWORD_FILE": str(plan.data.password_file(PROVISIONER)),
        },
    )
    assert done.returncode == 0, done.stderr
