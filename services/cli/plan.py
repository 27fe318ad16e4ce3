"""Which processes `rag up` runs, with which settings, and in which order they end."""

import ssl
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from services.cli.broker_config import BrokerTLS, server_binary
from services.cli.data_folder import DataFolder
from services.cli.ports import LOOPBACK, Ports
from services.cli.supervisor import ProcessSpec

BROKER: Final = "nats-server"
# Who brings in new work goes first, who stores the results last.
STOP_ORDER: Final = ("gateway", "parser", "agent", "embedder", "retriever", "persistence", BROKER)
# Enough for one answer or one batch; six services one after the other still end within the launcher's bound.
DRAIN_SECONDS: Final = 8.0

# Nobody waits for documents as for an answer.
NICENESS: Final = {"parser": 15, "persistence": 15, "embedder": 10}
# Beside the replicas that embed documents: questions share neither an interpreter nor a priority with them.
QUERY_EMBEDDER: Final = "embedder.queries"
LANES: Final = "RAG_EMBEDDER_LANES"
# Whose process keeps the spans of all, unless the caller sends them somewhere else.
SPAN_STORE: Final = "persistence"
OTLP_ENDPOINT: Final = "RAG_OTLP_ENDPOINT"
_CLIENT_TLS: Final = "RAG_NATS_TLS_"
PEPPER: Final = "RAG_KEY_PEPPER"

Command = Callable[[str], tuple[str, ...]]


def service_command(name: str) -> tuple[str, ...]:
    """Return the command that runs a service."""
    return (sys.executable, "-m", f"services.{name}.app")


@dataclass(frozen=True, slots=True)
class Member:
    """One process of a service: its name for people, its niceness, and the settings that only it has."""

    service: str
    name: str
    instance: str
    niceness: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)


def members(replicas: Mapping[str, int]) -> list[Member]:
    """Return the processes of all services; the gateway is the first."""
    found = [
        _replica(service, number, alone=count == 1)
        for service, count in replicas.items()
        for number in range(1, count + 1)
    ]
    return [*found, Member("embedder", QUERY_EMBEDDER, "embedder-queries", settings={LANES: "interactive"})]


def _replica(service: str, number: int, *, alone: bool) -> Member:
    settings = {LANES: "bulk"} if service == "embedder" else {}
    name = service if alone else f"{service}.{number}"
    return Member(service, name, f"{service}-{number}", NICENESS.get(service, 0), settings)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is decided before the first process starts; `environment` is the caller's own."""

    host: str
    ports: Ports
    data: DataFolder
    replicas: Mapping[str, int]
    environment: Mapping[str, str]
    models_dir: Path
    unresponsive_seconds: float = 0.0
    command: Command = service_command
    tls: BrokerTLS | None = None
    open_to_producers: bool = True
    # How the gateway is asked whether it is ready; none = it speaks HTTP.
    gateway_probe: ssl.SSLContext | None = None

    @property
    def url(self) -> str:
        """Return the gateway's address."""
        return self._url("gateway", self.host, self.ports.gateway)

    @property
    def broker_url(self) -> str:
        """Return the broker's address, without credentials."""
        return f"{'tls' if self.tls else 'nats'}://{LOOPBACK}:{self.ports.broker}"

    @property
    def monitor_url(self) -> str:
        """Return the address of the broker's monitoring."""
        return _http(LOOPBACK, self.ports.monitor)

    def broker(self) -> ProcessSpec:
        """Return the broker's process."""
        command = (str(server_binary()), "--config", str(self.data.broker_config))
        ready_url = f"{self.monitor_url}/healthz"
        return ProcessSpec(BROKER, command, dict(self.environment), ready_url, f"{ready_url}?js-server-only=true")

    def services(self) -> list[ProcessSpec]:
        """Return the processes of all services."""
        health = iter(self.ports.health)
        placed = [
            (member, self.ports.gateway if member.service == "gateway" else next(health))
            for member in members(self.replicas)
        ]
        spans_port = next(port for member, port in placed if member.service == SPAN_STORE)
        spans = {OTLP_ENDPOINT: _http(LOOPBACK, spans_port)}
        return [self._process(member, port, {**spans, **self.environment}) for member, port in placed]

    def _process(self, member: Member, port: int, given: Mapping[str, str]) -> ProcessSpec:
        host = self.host if member.service == "gateway" else LOOPBACK
        secrets = self._gateway_secrets() if member.service == "gateway" else {}
        environment = {**self._environment(given, member, host, port), **secrets, **member.settings}
        url = self._url(member.service, host, port)
        return ProcessSpec(
            member.name, self.command(member.service), environment, f"{url}/ready", f"{url}/live", member.niceness
        )

    def _url(self, service: str, host: str, port: int) -> str:
        url = _http(host, port)
        return url.replace("http:", "https:", 1) if service == "gateway" and self.gateway_probe else url

    def _gateway_secrets(self) -> dict[str, str]:
        """Return where the gateway finds what it hashes keys with, unless the caller says so."""
        named = {PEPPER, f"{PEPPER}_FILE"} & self.environment.keys()
        return {} if named else {f"{PEPPER}_FILE": str(self.data.pepper_file)}

    def _environment(self, given: Mapping[str, str], member: Member, host: str, port: int) -> dict[str, str]:
        # The caller may know better how long draining may take; everything below is the launcher's to decide.
        kept = given if self.tls else {name: value for name, value in given.items() if not name.startswith(_CLIENT_TLS)}
        return {
            "RAG_DRAIN_SECONDS": f"{DRAIN_SECONDS:g}",
            **kept,
            "RAG_NATS_URL": self.broker_url,
            "RAG_NATS_USER": member.service,
            "RAG_NATS_PASSWORD_FILE": str(self.data.password_file(member.service)),
            "RAG_NATS_REPLICAS": "1",
            "RAG_HOST": host,
            "RAG_PORT": str(port),
            "RAG_DATA_DIR": str(self.data.root),
            "RAG_MODELS_DIR": str(self.models_dir),
            "RAG_INSTANCE": member.instance,
            "RAG_LOG_FORMAT": "console",
            "PYTHONUNBUFFERED": "1",
        }


def service_of(process_name: str) -> str:
    """Return the service that a process runs: `embedder` for `embedder.2`."""
    return process_name.partition(".")[0]


def _http(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
