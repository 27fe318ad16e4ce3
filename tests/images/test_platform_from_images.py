"""The six services out of their images, with the environment and secrets of Compose, around real servers."""

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from deploy.docker.images import ROOT
from deploy.docker.make_secrets import make_secrets
from services.cli.broker_config import server_binary
from tests.images.containers import Container, Images
from tests.postgres import postgres_server
from tests.redis_server import redis_server
from tests.servers import free_port, wait_for_port

pytestmark = [pytest.mark.images, pytest.mark.timeout(3600)]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = ["gateway", "parser", "embedder", "retriever", "agent", "persistence"]
# There is no Qdrant server here, so the retriever takes its embedded index; ports are chosen as containers start, so no
# address of persistence is known to the others.
WITHOUT = {"RAG_QDRANT_URL", "RAG_QDRANT_API_KEY_FILE", "RAG_OTLP_ENDPOINT"}
MOON = "The first Moon landing was on 20 July 1969. Two of the three astronauts walked on the surface."


@dataclass
class Stand:
    """The servers, and what the containers need to find them."""

    images: Images
    secrets: Path
    nats_url: str

    def environment(self, name: str) -> dict[str, str]:
        """Return what Compose gives a service, with this machine's addresses and ports."""
        given = {
            key: str(value)
            for key, value in COMPOSE["services"][name]["environment"].items()
            if value is not None and key not in WITHOUT
        }
        plain = {key: re.sub(r"\$\{\w+:-(.*)\}", r"\1", value) for key, value in given.items()}
        return {**plain, "RAG_NATS_URL": self.nats_url} if "RAG_NATS_URL" in plain else plain

    def mounts(self, name: str, data: Path | None = None) -> dict[Path, str]:
        """Return what is mounted: the secrets of this consumer, and where it keeps data a folder for them."""
        [volume] = [one for one in COMPOSE["services"][name]["volumes"] if one.startswith("secrets-")]
        mounted = {self.secrets / volume.partition(":")[0].removeprefix("secrets-"): "/run/secrets:ro"}
        return {**mounted, **({data: "/data"} if data else {})}


@pytest.fixture(scope="module")
def stand(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    folder = tmp_path_factory.mktemp("stand")
    folder.chmod(0o755)
    secrets = folder / "secrets"
    make_secrets(secrets)
    with contextlib.ExitStack() as stack:
        sql, cache = stack.enter_context(postgres_server()), stack.enter_context(redis_server())
        for consumer in ("persistence", "keys"):
            replace(secrets / consumer / "database.url", sql.url)
        for consumer in ("gateway", "agent", "retriever"):
            replace(secrets / consumer / "redis.url", cache.url)
        yield Stand(images, secrets, stack.enter_context(broker(folder, secrets)))


def replace(path: Path, text: str) -> None:
    path.chmod(0o644)
    path.write_text(text)


@contextlib.contextmanager
def broker(folder: Path, secrets: Path) -> Iterator[str]:
    """Run nats-server with the files of Compose, on free ports and in a folder of the test's."""
    etc, port = folder / "nats", free_port()
    etc.mkdir()
    for volume in COMPOSE["services"]["nats"]["volumes"]:
        source, target, *_ = volume.split(":")
        if target.startswith("/etc/nats/"):
            (etc / Path(target).name).write_text((ROOT / source).read_text())
    config = (etc / "nats.conf").read_text()
    config = config.replace("0.0.0.0:4222", f"127.0.0.1:{port}").replace("0.0.0.0:8222", f"127.0.0.1:{free_port()}")
    (etc / "nats.conf").write_text(config.replace('"/data"', json.dumps(str(folder / "jetstream"))))
    words = dict(line.split("=") for line in (secrets / "nats" / "nats.env").read_text().splitlines())
    command = [str(server_binary()), "--config", str(etc / "nats.conf")]
    with (folder / "nats.log").open("wb") as log:
        process = subprocess.Popen(command, env={"NATS_SERVER_NAME": "nats", **words}, stdout=log, stderr=log)
    try:
        wait_for_port(port, process)
        yield f"nats://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextlib.contextmanager
def platform(stand: Stand, data: Path) -> Iterator[dict[str, tuple[Container, str]]]:
    """Run the services; yields each with the address of its HTTP server, once all are ready."""
    with contextlib.ExitStack() as stack:
        running: dict[str, tuple[Container, str]] = {}
        for name in SERVICES:
            port = free_port()
            environment = {**stand.environment(name), "RAG_HOST": "127.0.0.1", "RAG_PORT": str(port)}
            mounts = stand.mounts(name, data if name == "retriever" else None)
            container = stack.enter_context(stand.images.running(name, environment, mounts))
            running[name] = container, f"http://127.0.0.1:{port}"
        for container, url in running.values():
            container.wait_for(f"{url}/ready")
        yield running


def test_documents_become_answers_from_images_alone(stand: Stand, tmp_path: Path) -> None:
    provisioning = stand.images.running("provision", stand.environment("provision"), stand.mounts("provision"))
    with provisioning as job:
        assert job.wait() == 0, job.output
    key_command = COMPOSE["services"]["first-key"]["command"]
    making = stand.images.running(
        "provision", stand.environment("first-key"), stand.mounts("first-key"), command=key_command
    )
    with making as job:
        assert job.wait() == 0, job.output
        key = job.output.split()[0]
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o777)
    with platform(stand, data) as running:
        gateway = running["gateway"][1]
        assert httpx.post(f"{gateway}/v1/search", json={"query": "Moon"}).status_code == 401
        with httpx.Client(base_url=gateway, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
            documents = {"documents": [{"id": "moon", "text": MOON}]}
            accepted = client.post("/v1/documents", params={"wait_s": 30}, json=documents)
            assert accepted.json()["documents"][0]["status"] == "indexed", accepted.text
            answer = client.post("/v1/query", json={"question": "When was the first Moon landing?"}).json()
            assert "20 July 1969" in answer["answer"], answer
            health = client.get("/health/detailed").json()
            assert health["status"] == "ok", health
        isolation = httpx.get(f"{running['parser'][1]}/health").json()["details"]["sandbox"]["isolation"]
        assert isolation["no_new_privileges"]
        assert isolation["seccomp"]
        for name in ("gateway", "parser", "agent", "embedder", "retriever", "persistence"):
            container, _ = running[name]
            assert container.terminate() == 0, (name, container.output[-2000:])


def test_one_container_shows_a_key_once_and_answers_with_it(images: Images, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o777)
    port = free_port()
    ports = ["--port", str(port), "--nats-port", "0", "--nats-monitor-port", "0", "--health-ports", "0"]
    command = [*images.config("all-in-one")["Cmd"], *ports]
    # buildah puts an empty volume of its own over whatever is mounted where an image declares one.
    kept = {"RAG_DATA_DIR": "/kept"}
    shown = []
    for _ in range(2):
        with images.running("all-in-one", kept, {data: "/kept"}, command) as container:
            container.wait_until_it_says("rag is ready")
            shown.append(re.findall(r"RAG_API_KEY=(\S+)", container.output))
            assert httpx.get(f"http://127.0.0.1:{port}/v1/documents").status_code == 401
            headers = {"Authorization": f"Bearer {shown[0][0]}"}
            assert httpx.get(f"http://127.0.0.1:{port}/v1/documents", headers=headers).status_code == 200
            assert container.terminate() == 0, container.output
    assert [len(keys) for keys in shown] == [1, 0]
