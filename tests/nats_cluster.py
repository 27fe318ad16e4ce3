"""Three nats-servers on the loopback interface that are one cluster, each of which can be killed and started again."""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.servers import NatsServer, free_port, quick_disk

SIZE = 3
ELECTION_SECONDS = 30.0
POLL_SECONDS = 0.05


@dataclass
class Node(NatsServer):
    """One server; `name` is what the cluster calls it."""

    name: str = ""
    monitor: int = 0

    def look(self, path: str) -> dict[str, object]:
        """Return what the server's monitoring says."""
        found: dict[str, object] = httpx.get(f"http://127.0.0.1:{self.monitor}/{path}", trust_env=False).json()
        return found

    @property
    def alive(self) -> bool:
        """Tell whether the process runs."""
        return self.process is not None


@dataclass
class NatsCluster:
    """The servers; `url` lists all of them."""

    nodes: list[Node]

    @property
    def url(self) -> str:
        """Return the addresses to connect to, comma separated."""
        return ",".join(node.url for node in self.nodes)

    def node(self, name: str) -> Node:
        """Return a server by its name."""
        return next(node for node in self.nodes if node.name == name)

    def meta_leader(self) -> str:
        """Return who leads the cluster as a whole, an empty text while nobody does."""
        for node in (node for node in self.nodes if node.alive):
            with contextlib.suppress(httpx.HTTPError):
                meta = node.look("jsz").get("meta_cluster")
                if isinstance(meta, dict) and meta.get("leader"):
                    return str(meta["leader"])
        return ""

    def start(self) -> None:
        """Start all servers and wait until they have a leader."""
        for node in self.nodes:
            node.start()
        deadline = time.monotonic() + ELECTION_SECONDS
        while not self.meta_leader():
            assert time.monotonic() < deadline, f"the cluster has no leader after {ELECTION_SECONDS:g} s"
            time.sleep(POLL_SECONDS)

    def kill(self) -> None:
        """End all servers as a power cut would."""
        for node in self.nodes:
            node.kill()


@contextlib.contextmanager
def nats_cluster() -> Iterator[NatsCluster]:
    """Run a cluster with empty stores."""
    # Three servers wait for the disk of one machine; memory takes their place where there is room.
    with tempfile.TemporaryDirectory(prefix="rag-cluster-", dir=quick_disk()) as folder:
        routes = [free_port() for _ in range(SIZE)]
        cluster = NatsCluster([_node(number, Path(folder), routes) for number in range(SIZE)])
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.kill()


def _node(number: int, folder: Path, routes: list[int]) -> Node:
    name, monitor = f"node{number}", free_port()
    addresses = [f"nats://127.0.0.1:{port}" for port in routes]
    own = ("-n", name, "-m", str(monitor), "--cluster_name", "rag", "--cluster", addresses[number])
    return Node(free_port(), folder / name, (*own, "--routes", ",".join(addresses)), name=name, monitor=monitor)
