"""Every command of docs/deployment.md is one that its program takes, on things that exist.

kubectl and Compose run as they stand there, against a cluster and a daemon that are not there: they read every option
and every file, and then say that nobody answers. `rag` commands run in `tests/e2e/test_deployment_page.py`; links and
names of tests are looked up by `tests/architecture/test_page_names.py`, on every page.
"""

import io
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from deploy.kubernetes.kubectl import ensure_kubectl
from deploy.local.compose_program import ensure_compose
from deploy.local.errors import SetupError
from deploy.local.progress import Progress
from tests.servers import free_port
from tests.unit.deploy.kubernetes.rendered import PRODUCTION, Renderer

PROJECT = Path(__file__).resolve().parents[3]
PAGE = (PROJECT / "docs" / "deployment.md").read_text(encoding="utf-8")
# Those that need no cluster.
OFFLINE = "kubectl kustomize"
NO_CLUSTER = "connection refused"
NO_DAEMON = "Cannot connect to the Docker daemon"


def commands() -> list[str]:
    """Return what the shell blocks hold, and every whole command in the text of the page."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    inline = re.findall(r"`((?:kubectl|docker compose) [^`]+)`", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL))
    return list(dict.fromkeys([line for block in blocks for line in block.splitlines() if line.strip()] + inline))


KUBECTL = [command for command in commands() if command.startswith("kubectl ")]
COMPOSE = [command for command in commands() if command.startswith("docker compose ")]
RAG = [command for command in commands() if command.startswith("rag ")]


@pytest.fixture(scope="module")
def kubectl() -> Path:
    try:
        return ensure_kubectl(PROJECT, Progress(io.StringIO()))
    except SetupError as error:
        pytest.skip(f"kubectl cannot be had: {error}")


@pytest.fixture(scope="module")
def compose() -> Path:
    try:
        return ensure_compose(PROJECT, Progress(io.StringIO()))
    except SetupError as error:
        pytest.skip(f"Docker Compose cannot be had: {error}")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    return Renderer(tmp_path_factory.mktemp("kubernetes"))


def run(program: Path, arguments: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(program), *arguments],
        cwd=PROJECT,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def on_no_cluster(kubectl: Path, command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    config = folder / "config"
    server = f"http://127.0.0.1:{free_port()}"
    config.write_text(
        "{apiVersion: v1, kind: Config, current-context: x, contexts: [{name: x, context: {cluster: x, user: x}}], "
        f"clusters: [{{name: x, cluster: {{server: '{server}'}}}}], users: [{{name: x, user: {{}}}}]}}"
    )
    return run(kubectl, shlex.split(command)[1:], KUBECONFIG=str(config), HOME=str(folder))


def on_no_daemon(compose: Path, command: str) -> subprocess.CompletedProcess[str]:
    return run(compose, shlex.split(command)[2:], DOCKER_HOST=f"tcp://127.0.0.1:{free_port()}")


def test_every_command_is_of_a_program_that_a_test_runs() -> None:
    assert set(commands()) == {*KUBECTL, *COMPOSE, *RAG}
    assert len(KUBECTL) > 15
    assert len(COMPOSE) > 4
    assert len(RAG) > 6


@pytest.mark.parametrize("command", KUBECTL)
def test_kubectl_takes_the_command(kubectl: Path, command: str, tmp_path: Path) -> None:
    done = on_no_cluster(kubectl, command, tmp_path)
    if command.startswith(OFFLINE):
        assert done.returncode == 0, done.stderr
    else:
        assert NO_CLUSTER in done.stderr, done.stderr


def test_a_wrong_command_is_not_taken_for_one_that_found_no_cluster(kubectl: Path, tmp_path: Path) -> None:
    for wrong in (
        "kubectl -n rag rollout restarts deployment",
        "kubectl -n rag rollout status deployment/gateway --timeouts=10m",
        "kubectl apply --server-side -k deploy/kubernetes/overlays/elsewhere",
    ):
        done = on_no_cluster(kubectl, wrong, tmp_path)
        assert NO_CLUSTER not in done.stderr, wrong


def test_what_the_kubectl_commands_name_is_in_the_manifests(rendered: Renderer) -> None:
    manifests = rendered(PRODUCTION)
    found = {f"{one['kind'].lower()}/{one['metadata']['name']}" for one in manifests.objects}
    named = {name for command in KUBECTL for name in re.findall(r"\b(?:deployment|statefulset|job)/[a-z-]+", command)}
    assert {"deployment/gateway", "statefulset/nats", "job/topology"} <= named <= found
    (selector,) = {label for command in KUBECTL for label in re.findall(r"--selector (\S+)", command)}
    key, _, value = selector.partition("=")
    chosen = [one["kind"] for one in manifests.objects if one["metadata"].get("labels", {}).get(key) == value]
    assert {"StatefulSet", "ConfigMap"} <= set(chosen)


@pytest.mark.parametrize("command", COMPOSE)
def test_compose_takes_the_command(compose: Path, command: str) -> None:
    done = on_no_daemon(compose, command)
    assert NO_DAEMON in done.stderr, done.stderr


def test_a_wrong_compose_command_is_not_taken_for_one_that_found_no_daemon(compose: Path) -> None:
    for wrong in ("docker compose up --detached", "docker compose run --rm --nothing first-key"):
        assert NO_DAEMON not in on_no_daemon(compose, wrong).stderr, wrong


def test_the_services_that_compose_commands_name_are_there(compose: Path) -> None:
    known = run(compose, ["--profile", "tools", "config", "--services"]).stdout.split()
    words = {word for command in COMPOSE for word in shlex.split(command)[3:] if not word.startswith("-")}
    assert {"nats", "first-key"} <= words <= set(known)
