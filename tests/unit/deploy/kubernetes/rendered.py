"""What Kustomize makes of deploy/kubernetes, read for tests: variants, objects, pods and their environment."""

import contextlib
import functools
import io
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.kubernetes.kubectl import ensure_kubectl, find_kubectl, render
from deploy.kubernetes.secrets import filled_in
from deploy.local.errors import SetupError
from deploy.local.progress import Progress
from services.agent.settings import AgentSettings
from services.cli.settings import LauncherSettings
from services.embedder.settings import EmbedderSettings
from services.gateway.settings import GatewaySettings
from services.parser.settings import ParserSettings
from services.persistence.settings import PersistenceSettings
from services.retriever.settings import RetrieverSettings
from shared.settings import PlatformSettings

PROJECT = Path(__file__).resolve().parents[4]
KUBERNETES = PROJECT / "deploy" / "kubernetes"
Json = dict[str, Any]

NAME, PART_OF, COMPONENT = ("app.kubernetes.io/name", "app.kubernetes.io/part-of", "app.kubernetes.io/component")
SERVICE_NAMES = ("gateway", "parser", "embedder", "retriever", "agent", "persistence")
SETTINGS: dict[str, type[PlatformSettings]] = {
    "gateway": GatewaySettings,
    "parser": ParserSettings,
    "embedder": EmbedderSettings,
    "retriever": RetrieverSettings,
    "agent": AgentSettings,
    "persistence": PersistenceSettings,
    "topology": PlatformSettings,
    "first-key": LauncherSettings,
}
# One of each of these, and of the rest any.
CHOICES = (
    ("nats-single", "nats-cluster"),
    ("postgres-single", "postgres-managed"),
    ("redis-single", "redis-managed"),
    ("qdrant-single", "qdrant-managed"),
    ("autoscaling-keda", "autoscaling-hpa"),
)
OVERLAYS = ("local", "production")
# A part of two others.
PARTS = {"nats"}
COMPONENTS = tuple(sorted(path.name for path in (KUBERNETES / "components").iterdir() if path.name not in PARTS))


@dataclass(frozen=True)
class Variant:
    """An overlay with more components; one of a choice takes the place of the one that the overlay has."""

    overlay: str
    added: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "+".join((self.overlay, *self.added))

    @property
    def components(self) -> tuple[str, ...]:
        """Return the components in the order in which they are applied."""
        own = yaml.safe_load((KUBERNETES / "overlays" / self.overlay / "kustomization.yaml").read_text())["components"]
        present = [Path(path).name for path in own]
        for one in self.added:
            rivals = next((choice for choice in CHOICES if one in choice), ())
            present = [other for other in present if other != one and other not in rivals] + [one]
        if "nats-tls" in present:
            present = ["nats-cluster", *(one for one in present if one not in CHOICES[0])]
        return tuple(sorted(present, key=lambda one: one not in CHOICES[0]))


LOCAL, PRODUCTION = Variant("local"), Variant("production")
EVERYTHING = Variant(
    "production", ("nats-tls", "language-model", "embedding-endpoint", "token-issuer", "fetching", "collector")
)
HPA = Variant("production", ("autoscaling-hpa",))


@dataclass(frozen=True)
class Pod:
    """A pod of a workload, with where it comes from."""

    kind: str
    owner: Json
    template: Json

    @property
    def name(self) -> str:
        return str(self.owner["metadata"]["name"])

    @property
    def labels(self) -> dict[str, str]:
        found: dict[str, str] = self.template["metadata"]["labels"]
        return found

    @property
    def app(self) -> str:
        return self.labels[NAME]

    @property
    def spec(self) -> Json:
        found: Json = self.template["spec"]
        return found

    @property
    def containers(self) -> list[Json]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def ports(self) -> dict[str, int]:
        """Return its ports by name."""
        return {port["name"]: port["containerPort"] for one in self.containers for port in one.get("ports", [])}

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True)
class Manifests:
    """Everything that a variant applies."""

    variant: Variant
    objects: tuple[Json, ...] = field(repr=False)

    def of(self, kind: str) -> list[Json]:
        return [one for one in self.objects if one["kind"] == kind]

    def named(self, kind: str, name: str) -> Json:
        (found,) = (one for one in self.of(kind) if one["metadata"]["name"] == name)
        return found

    def pods(self) -> list[Pod]:
        found = [Pod(one["kind"], one, one["spec"]["template"]) for one in self.objects if _has_pods(one)]
        cron = [Pod("CronJob", one, one["spec"]["jobTemplate"]["spec"]["template"]) for one in self.of("CronJob")]
        return found + cron

    def services(self) -> list[Pod]:
        """Return the pods of the platform's own services."""
        return [pod for pod in self.pods() if pod.labels.get(COMPONENT) == "service"]

    def environment(self, pod: Pod) -> dict[str, str]:
        """Return what the first container of a pod finds in its environment, secrets made as the README says."""
        (container,) = pod.containers
        found: dict[str, str] = {}
        for source in container.get("envFrom", []):
            found |= self.named("ConfigMap", source["configMapRef"]["name"])["data"]
        for variable in container.get("env", []):
            found[variable["name"]] = self._value(variable, pod)
        return found

    def settings(self, pod: Pod) -> PlatformSettings:
        """Return the settings as the service in a pod reads them."""
        with only(self.environment(pod)):
            return SETTINGS[pod.app]()

    def _value(self, variable: Json, pod: Pod) -> str:
        if "value" in variable:
            return str(variable["value"])
        source = variable["valueFrom"]
        if "fieldRef" in source:
            return pod.name
        return secret_values()[source["secretKeyRef"]["name"]][source["secretKeyRef"]["key"]]


def _has_pods(one: Json) -> bool:
    return one["kind"] in {"Deployment", "StatefulSet", "DaemonSet", "Job", "ReplicaSet"}


@functools.cache
def secret_values() -> dict[str, dict[str, str]]:
    """Return the Secrets by name, with something in the place of what a person has to give."""
    documents, missing = filled_in()
    found = {one["metadata"]["name"]: dict(one["stringData"]) for one in documents}
    found["rag-secrets"] |= dict.fromkeys(missing, "given-by-a-person")
    return found


@contextlib.contextmanager
def only(environment: dict[str, str]) -> Iterator[None]:
    """Have nothing but these in the environment."""
    before = dict(os.environ)
    try:
        os.environ.clear()
        os.environ.update(environment)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@functools.cache
def _kubectl() -> Path | str:
    """Return kubectl, or why there is none."""
    try:
        return ensure_kubectl(PROJECT, Progress(io.StringIO()))
    except SetupError as error:
        return find_kubectl(PROJECT) or f"there is no kubectl: {error}"


class Renderer:
    """Renders variants in a copy of the files, each once."""

    def __init__(self, folder: Path) -> None:
        self._root = folder
        self._done: dict[Variant, Manifests] = {}
        for part in ("deploy/kubernetes", "deploy/nats", "observability/grafana/dashboards"):
            shutil.copytree(PROJECT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))

    def __call__(self, variant: Variant) -> Manifests:
        """Return what a variant applies; skips the test without kubectl."""
        if isinstance(kubectl := _kubectl(), str):
            pytest.skip(kubectl)
        if variant not in self._done:
            self._done[variant] = self._render(kubectl, variant)
        return self._done[variant]

    def folder(self, name: str) -> Manifests:
        """Return what a folder beside the overlays applies."""
        if isinstance(kubectl := _kubectl(), str):
            pytest.skip(kubectl)
        text = render(kubectl, self._root / "deploy" / "kubernetes" / name)
        return Manifests(Variant(name), tuple(yaml.load_all(text, Loader=yaml.CSafeLoader)))

    def overlay(self, name: str, *parts: Json, **files: str) -> Manifests:
        """Return what an overlay beside the others applies that is made of `parts` and of files."""
        folder = self._root / "deploy" / "kubernetes" / "overlays" / name
        folder.mkdir()
        kustomization: Json = {}
        for part in parts:
            for key, value in part.items():
                kustomization[key] = [*kustomization.get(key, []), *value]
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        for stem, text in files.items():
            (folder / f"{stem}.conf").write_text(text)
        return self.folder(f"overlays/{name}")

    def _render(self, kubectl: Path, variant: Variant) -> Manifests:
        overlays = self._root / "deploy" / "kubernetes" / "overlays"
        target = overlays / variant.overlay
        if variant.added:
            target = overlays / str(variant)
            shutil.copytree(overlays / variant.overlay, target)
            file = target / "kustomization.yaml"
            kustomization = yaml.safe_load(file.read_text())
            kustomization["components"] = [f"../../components/{one}" for one in variant.components]
            file.write_text(yaml.safe_dump(kustomization))
        text = render(kubectl, target)
        return Manifests(variant, tuple(yaml.load_all(text, Loader=yaml.CSafeLoader)))
