"""The broker as deploy/kubernetes starts it: real servers with the files, arguments and passwords of the manifests."""

import asyncio
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from contracts.topology import AGENT_STEPS, CONSUMERS, GIB, MIB, STREAMS, UPLOADS, Storage
from services.cli.broker_access import BrokerLogin, jetstream
from services.cli.broker_config import max_file_bytes, server_binary
from shared.messaging.provisioning import drift
from shared.settings import PlatformSettings
from tests.certificates import Authority
from tests.servers import free_port, quick_disk
from tests.unit.deploy.kubernetes.rendered import (
    EVERYTHING,
    LOCAL,
    PRODUCTION,
    Json,
    Manifests,
    Pod,
    Renderer,
    Variant,
    only,
)

START_SECONDS = 30.0
POLL_SECONDS = 0.05
# Nine ports are chosen before anybody listens: now and then a connection of somebody else takes one first.
STARTS = 3
TAKEN = "address already in use"


class PortTaken(Exception):
    """Somebody else was there first."""


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    return Renderer(tmp_path_factory.mktemp("kubernetes"))


@dataclass
class Server:
    """One pod of the StatefulSet as a process on the loopback interface."""

    number: int
    client: int
    monitor: int
    route: int
    process: subprocess.Popen[bytes] | None = None

    def look(self, path: str) -> Json:
        """Return what the server's monitoring says."""
        found: Json = httpx.get(f"http://127.0.0.1:{self.monitor}/{path}", trust_env=False).json()
        return found

    @property
    def is_healthy(self) -> bool:
        """Tell what the pod's readiness probe would find, with JetStream and its leader."""
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"http://127.0.0.1:{self.monitor}/healthz", trust_env=False).status_code == 200
        return False


class Brokers:
    """The servers of a variant; what pods are given by name is put on free ports here."""

    def __init__(self, manifests: Manifests, folder: Path, authority: Authority) -> None:
        self._manifests = manifests
        (self.pod,) = (pod for pod in manifests.pods() if pod.app == "nats")
        self._folder, self.authority = folder, authority
        count = manifests.named("StatefulSet", "nats")["spec"]["replicas"]
        self.servers = [Server(number, free_port(), free_port(), free_port()) for number in range(count)]

    def command(self, server: Server) -> list[str]:
        """Return the container's command with its variables, addresses and folders replaced."""
        container = self.pod.spec["containers"][0]
        words = [*container["command"], *container["args"]]
        environment = self.environment(server)
        for name, value in environment.items():
            words = [word.replace(f"$({name})", value) for word in words]
        words = [word.replace("/etc/nats", str(self._lay_out(server))) for word in words]
        own = ["--addr", "127.0.0.1", "--port", str(server.client), "--http_port", str(server.monitor)]
        return [str(server_binary()), *(self.local(word, "route") for word in words[1:]), *own]

    def environment(self, server: Server) -> dict[str, str]:
        """Return the container's environment."""
        return {**self._manifests.environment(self.pod), "NATS_SERVER_NAME": f"nats-{server.number}"}

    def local(self, text: str, port: str) -> str:
        """Return a text with the names of servers replaced by where they listen."""
        numbers = {"route": 6222, "client": 4222}
        for one in self.servers:
            here = f"127.0.0.1:{getattr(one, port)}"
            text = text.replace(f"nats-{one.number}.nats-headless:{numbers[port]}", here)
        return text.replace("//nats:4222", f"//127.0.0.1:{self.servers[0].client}")

    def start(self) -> None:
        """Start all of them and wait until each says that it is healthy."""
        for one in self.servers:
            with self._log(one).open("wb") as log:
                one.process = subprocess.Popen(
                    self.command(one), env={**self.environment(one), "PATH": os.environ["PATH"]}, stderr=log
                )
        deadline = time.monotonic() + START_SECONDS
        while not all(one.is_healthy for one in self.servers):
            for one in self.servers:
                assert one.process is not None
                if one.process.poll() is not None:
                    log_text = self._log(one).read_text()
                    raise PortTaken if TAKEN in log_text else AssertionError(log_text[-2000:])
            assert time.monotonic() < deadline, f"no healthy cluster after {START_SECONDS:g} s"
            time.sleep(POLL_SECONDS)

    def _log(self, server: Server) -> Path:
        return self._folder / f"nats-{server.number}.log"

    def stop(self) -> None:
        """End them."""
        for one in self.servers:
            if one.process is not None:
                one.process.terminate()
                one.process.wait(10)

    def _lay_out(self, server: Server) -> Path:
        """Put the files where the volumes put them."""
        place = self._folder / f"nats-{server.number}"
        (place / "tls").mkdir(parents=True, exist_ok=True)
        certificate = self.authority.certificate(f"nats-{server.number}")
        for name, source in (
            ("tls.crt", certificate.cert),
            ("tls.key", certificate.key),
            ("ca.crt", self.authority.ca),
        ):
            (place / "tls" / name).write_bytes(source.read_bytes())
        (config,) = (volume for volume in self.pod.spec["volumes"] if volume["name"] == "config")
        (source,) = config["projected"]["sources"]
        files = self._manifests.named("ConfigMap", source["configMap"]["name"])["data"]
        for item in source["configMap"]["items"]:
            text = files[item["key"]].replace("/etc/nats/tls", str(place / "tls")).replace('"/data"', f'"{place}/data"')
            text = text.replace("/run/nats", str(place)).replace("0.0.0.0:6222", f"127.0.0.1:{server.route}")
            (place / item["path"]).write_text(text)
        return place


@pytest.fixture(params=[LOCAL, PRODUCTION, EVERYTHING], ids=["single", "cluster", "cluster with TLS"])
def variant(request: pytest.FixtureRequest) -> Variant:
    found: Variant = request.param
    return found


@pytest.fixture
def brokers(rendered: Renderer, variant: Variant) -> Iterator[Brokers]:
    with tempfile.TemporaryDirectory(prefix="rag-brokers-", dir=quick_disk()) as folder:
        found = started(rendered(variant), Path(folder))
        try:
            yield found
        finally:
            found.stop()


def started(manifests: Manifests, folder: Path) -> Brokers:
    """Return the servers of a variant once they are healthy."""
    authority = Authority(folder / "authority")
    for _ in range(STARTS):
        found = Brokers(manifests, folder, authority)
        try:
            found.start()
            return found
        except PortTaken:
            found.stop()
        except BaseException:
            found.stop()
            raise
    raise AssertionError(f"the ports of the servers were taken {STARTS} times")


def environment_of(pod: Pod, brokers: Brokers, manifests: Manifests, folder: Path) -> dict[str, str]:
    """Return what a pod finds in its environment, with the servers and certificates of this test."""
    found = {name: brokers.local(value, "client") for name, value in manifests.environment(pod).items()}
    for name in (name for name in found if name.startswith("RAG_NATS_TLS_")):
        found[name] = found[name].replace("/etc/rag/tls", str(folder))
    return found


def test_the_topology_job_provisions_it_and_every_service_finds_it_as_declared(
    rendered: Renderer, variant: Variant, brokers: Brokers, tmp_path: Path
) -> None:
    manifests = rendered(variant)
    certificate = brokers.authority.certificate("client")
    for name, source in (("tls.crt", certificate.cert), ("tls.key", certificate.key), ("ca.crt", brokers.authority.ca)):
        (tmp_path / name).write_bytes(source.read_bytes())
    job = next(pod for pod in manifests.pods() if str(pod) == "Job/topology")
    provisioned = run_as_pod(job, environment_of(job, brokers, manifests, tmp_path))
    assert provisioned.returncode == 0, provisioned.stdout + provisioned.stderr
    for pod in manifests.services():
        assert asyncio.run(differences(environment_of(pod, brokers, manifests, tmp_path))) == [], pod
    for one in brokers.servers:
        stores = one.look("jsz")
        assert 0 < stores["reserved_storage"] < stores["config"]["max_storage"] == 16 * GIB
        assert 0 < stores["reserved_memory"] < stores["config"]["max_memory"] == 512 * MIB
    for one in brokers.servers[1:]:
        about = one.look("varz")
        assert about["cluster"].get("tls_required", False) == ("nats-tls" in variant.components)
        # KEDA then asks the servers by their names, which the headless service has.
        assert about.get("connect_urls", []) == []
    assert figures_of(brokers.servers) == {(one.stream, one.name) for one in CONSUMERS}


def figures_of(servers: list[Server]) -> set[tuple[str, str]]:
    """Return the consumers whose figures a scaler finds at the server that leads them, as KEDA asks for them."""
    found = set()
    for one in servers:
        name = one.look("varz")["server_name"]
        for account in one.look("jsz?acc=$G&consumers=true&config=true")["account_details"]:
            for stream in account["stream_detail"]:
                for consumer in stream.get("consumer_detail") or []:
                    assert {"num_pending", "num_ack_pending"} <= set(consumer)
                    if len(servers) == 1 or consumer["cluster"]["leader"] == name:
                        found.add((stream["name"], consumer["name"]))
    return found


def run_as_pod(pod: Pod, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the command of a pod's container with the program of this checkout."""
    program, *arguments = pod.containers[0]["command"]
    return subprocess.run(
        [str(Path(sys.executable).parent / program), *arguments],
        env={**environment, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def differences(environment: dict[str, str]) -> list[str]:
    """Return what a service with this environment has against the broker's streams, as its user sees them."""
    with only(environment):
        settings = PlatformSettings()
    async with jetstream(BrokerLogin.of(settings, settings.nats_url), connect_seconds=10) as js:
        return await drift(js, replicas=settings.nats_replicas)


def test_a_server_of_the_cluster_does_not_start_without_the_password_of_its_routes(
    rendered: Renderer, tmp_path: Path
) -> None:
    brokers = Brokers(rendered(PRODUCTION), tmp_path, Authority(tmp_path / "authority"))
    (first, *_) = brokers.servers
    environment = {name: value for name, value in brokers.environment(first).items() if name != "NATS_PASSWORD_ROUTE"}
    command = [*brokers.command(first), "-t"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode != 0
    assert "NATS_PASSWORD_ROUTE" in done.stdout + done.stderr


@pytest.mark.parametrize("overlay", [LOCAL, PRODUCTION], ids=str)
def test_its_disk_holds_what_streams_and_buckets_may_and_its_memory_the_rest(
    rendered: Renderer, overlay: Variant
) -> None:
    stateful = rendered(overlay).named("StatefulSet", "nats")["spec"]
    (files,) = (
        one["data"] for one in rendered(overlay).of("ConfigMap") if one["metadata"]["name"].startswith("nats-config")
    )
    store = {kind: _bound(files["nats.conf"], kind) for kind in ("file", "memory")}
    on_disk = sum(one.max_bytes for one in STREAMS if one.storage is Storage.FILE) + UPLOADS.max_bytes
    (claim,) = stateful["volumeClaimTemplates"]
    volume = _bytes(claim["spec"]["resources"]["requests"]["storage"])
    assert max_file_bytes() <= store["file"] < 0.9 * volume
    assert on_disk < store["file"]
    in_memory = sum(one.max_bytes for one in STREAMS if one.storage is Storage.MEMORY) + AGENT_STEPS.max_bytes
    (container,) = stateful["template"]["spec"]["containers"]
    limit = _bytes(container["resources"]["limits"]["memory"])
    goal = _bytes(_value(container, "GOMEMLIMIT").removesuffix("B"))
    assert 4 * in_memory < goal < limit
    assert in_memory < store["memory"] < goal / 2


def _bound(configuration: str, kind: str) -> int:
    (found,) = re.findall(rf"^\s*max_{kind}_store: (\d+[MG]i)B$", configuration, re.MULTILINE)
    return _bytes(found)


def _value(container: Json, name: str) -> str:
    (found,) = (one["value"] for one in container["env"] if one["name"] == name)
    return str(found)


def _bytes(text: str) -> int:
    return int(text[:-2]) * {"Mi": 2**20, "Gi": 2**30}[text[-2:]]
