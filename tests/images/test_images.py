"""Each image: what is in it, that its program starts without rights, and what it says where there is no broker."""

from pathlib import Path

import pytest

from deploy.docker.images import DOCKERFILE, ROOT, targets
from shared.version import VERSION
from tests.images.containers import Images
from tests.servers import free_port

pytestmark = [pytest.mark.images, pytest.mark.timeout(3600)]
TARGETS = targets((ROOT / DOCKERFILE).read_text())
SERVICES = TARGETS[:6]
# Every image may write there: a volume, and folders that a read-only root file system has in memory or not at all.
WRITABLE = {"/data", "/tmp", "/var/tmp", "/run/lock"}
NOWHERE = {"RAG_NATS_URL": "nats://127.0.0.1:4", "RAG_HOST": "127.0.0.1", "RAG_LOG_FORMAT": "json"}


def alone(service: str, port: int) -> dict[str, str]:
    environment = {**NOWHERE, "RAG_PORT": str(port), "RAG_NATS_CONNECT_SECONDS": "60"}
    return {**environment, "RAG_AUTH": "off"} if service == "gateway" else environment


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_says_what_it_is(images: Images, target: str) -> None:
    config = images.config(target)
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in config["Labels"].items()}
    told = {name: labels[name] for name in ("title", "version", "revision", "created")}
    assert told == {
        "title": f"rag-{target}",
        "version": VERSION,
        "revision": images.source.revision,
        "created": images.source.created,
    }
    assert config["User"] == "10001:10001"
    assert ("Healthcheck" in config and bool(config["Healthcheck"])) == (target != "provision")


@pytest.mark.parametrize("target", TARGETS)
def test_its_user_may_write_nowhere_but_where_containers_do(images: Images, target: str) -> None:
    """INVARIANT: a read-only root file system takes nothing from the program, for it could write there in no case."""
    shell = (
        "id -u && find / -xdev -writable ! -type l ! -path '/proc*' ! -path '/dev*' ! -path '/sys*' 2>/dev/null; true"
    )
    user, *writable = images.ask(target, "sh", "-c", shell).split()
    assert user == "10001"
    assert set(writable) <= WRITABLE


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_installed_fits_together_and_is_compiled(images: Images, target: str) -> None:
    script = (
        "import importlib.metadata, pathlib, sysconfig\n"
        "site = pathlib.Path(sysconfig.get_path('purelib'))\n"
        "names = {one.name.lower().replace('_', '-') for one in importlib.metadata.distributions(path=[str(site)])}\n"
        "compiled = [*pathlib.Path('/app').rglob('*.pyc'), *site.rglob('*.pyc')]\n"
        "print(len(compiled), *sorted(names))\n"
    )
    compiled, *names = images.ask(target, "python3", "-c", script).split()
    assert int(compiled) > 500
    assert ("fastapi" in names) == (target in {"gateway", "all-in-one"})
    assert ("onnxruntime" in names) == (target in {"embedder", "retriever", "all-in-one"})
    assert "pip" not in names


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_starts_is_live_and_says_that_it_waits_for_the_broker(images: Images, service: str) -> None:
    port = free_port()
    with images.running(service, alone(service, port)) as container:
        container.wait_for(f"http://127.0.0.1:{port}/live")
        ready = container.wait_for(f"http://127.0.0.1:{port}/ready", 503).json()
        assert ready == {"ready": False, "waiting_for": "the broker at nats://127.0.0.1:4"}
        assert container.terminate() == 0, container.output


def test_the_gateway_is_not_open_to_other_machines(images: Images) -> None:
    with images.running("gateway", {"RAG_NATS_URL": "nats://127.0.0.1:4"}) as container:
        assert container.wait() != 0
        assert "setting RAG_AUTH is wrong: `off` is for the loopback interface only" in container.output


def test_provisioning_says_that_there_is_no_broker(images: Images) -> None:
    with images.running("provision", {"RAG_NATS_URL": "nats://127.0.0.1:4"}) as container:
        assert container.wait() != 0
        assert "rag: no broker at nats://127.0.0.1:4" in container.output


def test_the_health_check_asks_the_service(images: Images, tmp_path: Path) -> None:
    port = free_port()
    *_, command = images.config("embedder")["Healthcheck"]["Test"]
    checked = f"RAG_PORT={port}; {command.removeprefix('exec ')}; echo code=$?"
    assert "code=1" in images.ask("embedder", "sh", "-c", checked)
    with images.running("embedder", alone("embedder", port)) as container:
        container.wait_for(f"http://127.0.0.1:{port}/live")
        assert images.ask("embedder", "sh", "-c", checked).strip() == "code=0"
