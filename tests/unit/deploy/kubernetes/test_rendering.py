"""Every overlay renders with every component, into objects that Kubernetes, KEDA and the Prometheus operator know."""

import copy
import functools
import json
import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from contracts.broker_users import password_variable, users_file
from contracts.permissions import producer_user
from deploy.kubernetes import prometheus_rules
from tests.unit.deploy.kubernetes.rendered import (
    COMPONENTS,
    EVERYTHING,
    KUBERNETES,
    LOCAL,
    OVERLAYS,
    PRODUCTION,
    PROJECT,
    Json,
    Manifests,
    Renderer,
    Variant,
)

SCHEMAS = KUBERNETES / "schemas"
CUSTOM = ("scaledobject", "servicemonitor", "prometheusrule")
# The namespace itself.
OF_THE_CLUSTER = {"Namespace"}
# What the overlays leave out, all at once.
THE_REST = [
    Variant(
        "local", ("nats-cluster", "postgres-managed", "redis-managed", "qdrant-managed", "monitoring", "gateway-mtls")
    ),
    Variant("production", ("nats-single", "postgres-single", "redis-single", "qdrant-single", "autoscaling-hpa")),
]
# Each by itself: `make kubernetes-check` renders these as well.
ONE_BY_ONE = [
    Variant(overlay, (component,))
    for overlay in OVERLAYS
    for component in COMPONENTS
    if component not in Variant(overlay).components
]


@functools.cache
def validators() -> dict[str, Draft202012Validator]:
    """Return what checks an object, by its API version and kind."""
    core = json.loads((SCHEMAS / "kubernetes.json").read_text())
    found = {
        kind: Draft202012Validator({"$ref": place, "$defs": core["$defs"]}) for kind, place in core["kinds"].items()
    }
    for name in CUSTOM:
        schema = json.loads((SCHEMAS / f"{name}.json").read_text())
        kind = f"{schema['properties']['apiVersion']['const']}/{schema['properties']['kind']['const']}"
        found[kind] = Draft202012Validator(schema)
    return found


def problems(one: Json) -> list[str]:
    """Return what is wrong with an object; a kind that is not known is."""
    kind = f"{one['apiVersion']}/{one['kind']}"
    if (validator := validators().get(kind)) is None:
        return [f"{kind} is not known"]
    where = f"{kind} {one['metadata']['name']}"
    return [f"{where}: {error.json_path}: {error.message[:200]}" for error in validator.iter_errors(one)]


@pytest.mark.parametrize("variant", [LOCAL, PRODUCTION, EVERYTHING, *THE_REST], ids=str)
def test_overlays_render_with_all_components_into_objects_of_known_kinds(rendered: Renderer, variant: Variant) -> None:
    assert_known_and_complete(rendered(variant))


def test_no_component_is_left_out_of_what_is_rendered_every_time() -> None:
    assert {one for variant in (LOCAL, PRODUCTION, EVERYTHING, *THE_REST) for one in variant.components} == {
        *COMPONENTS
    }


@pytest.mark.extended
@pytest.mark.parametrize("variant", ONE_BY_ONE, ids=str)
def test_every_overlay_renders_with_every_component_by_itself(rendered: Renderer, variant: Variant) -> None:
    assert_known_and_complete(rendered(variant))


def assert_known_and_complete(manifests: Manifests) -> None:
    """Objects are of known kinds with known fields, in the namespace, there once, and small enough to be applied."""
    assert [problem for one in manifests.objects for problem in problems(one)] == []
    homeless = [
        one["metadata"]["name"]
        for one in manifests.objects
        if one["kind"] not in OF_THE_CLUSTER and one["metadata"].get("namespace") != "rag"
    ]
    assert homeless == []
    names = Counter((one["kind"], one["metadata"]["name"]) for one in manifests.objects)
    assert [name for name, count in names.items() if count > 1] == []
    # What `kubectl apply` keeps of an object in an annotation of it.
    assert [one["metadata"]["name"] for one in manifests.objects if len(json.dumps(one)) > 256 * 1024] == []


def test_the_first_key_is_made_by_objects_of_known_kinds(rendered: Renderer) -> None:
    assert_known_and_complete(rendered.folder("first-key"))


def test_a_misspelt_field_and_an_unknown_kind_are_found(rendered: Renderer) -> None:
    """A schema that allows everything would let every other test of this file pass."""
    for kind, place, field in (
        ("Deployment", ("spec", "template", "spec"), "terminationGracePeriodsSeconds"),
        ("ScaledObject", ("spec",), "minReplicas"),
        ("ServiceMonitor", ("spec",), "endpoint"),
        ("PrometheusRule", ("spec",), "group"),
        ("NetworkPolicy", ("spec",), "podSelectors"),
    ):
        wrong = copy.deepcopy(rendered(PRODUCTION).of(kind)[0])
        inside = wrong
        for step in place:
            inside = inside[step]
        inside[field] = 1
        assert problems(wrong), kind
    assert problems({"apiVersion": "apps/v1beta1", "kind": "Deployment", "metadata": {"name": "old"}})


def test_every_component_is_named_in_the_readme() -> None:
    text = (KUBERNETES / "README.md").read_text()
    assert [name for name in COMPONENTS if f"`{name}`" not in text] == []


def test_the_readme_s_links_lead_somewhere() -> None:
    text = (KUBERNETES / "README.md").read_text()
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    assert len(targets) >= 3
    assert [target for target in targets if not (KUBERNETES / target).exists()] == []


def test_what_the_readme_says_to_put_into_an_overlay_has_its_effect(rendered: Renderer) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (KUBERNETES / "README.md").read_text(), re.DOTALL)
    users = users_file([producer_user("acme")])
    parts = [{"resources": ["../production"]}, *(yaml.safe_load(block) for block in blocks)]
    manifests = rendered.overlay("yours", *parts, users=users)
    assert [problem for one in manifests.objects for problem in problems(one)] == []
    (config,) = (one for one in manifests.of("ConfigMap") if one["metadata"]["name"].startswith("nats-config"))
    assert config["data"]["users.conf"] == users
    assert {"nats.conf", "cluster.conf"} <= set(config["data"])
    (nats,) = (pod for pod in manifests.pods() if pod.app == "nats")
    variables = {one["name"]: one["valueFrom"] for one in nats.containers[0]["env"] if "valueFrom" in one}
    assert variables[password_variable(producer_user("acme"))]["secretKeyRef"]["name"] == "rag-broker"
    assert manifests.settings(next(iter(manifests.services()))).log_level == "debug"


def test_every_file_is_part_of_a_kustomization() -> None:
    """A file that nobody lists is applied by nobody, and nobody notices."""
    lost = []
    for folder in (path.parent for path in KUBERNETES.rglob("kustomization.yaml")):
        listed = json.dumps(yaml.safe_load((folder / "kustomization.yaml").read_text()))
        lost += [
            str(path) for path in folder.glob("*.yaml") if path.stem != "kustomization" and path.name not in listed
        ]
    assert lost == []


def test_images_of_the_platform_have_the_platform_s_version(rendered: Renderer) -> None:
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    images = [one["image"] for pod in rendered(LOCAL).pods() for one in pod.containers]
    own = {image for image in images if image.startswith("rag-")}
    assert own == {
        f"rag-{name}:{version}"
        for name in ("gateway", "parser", "embedder", "retriever", "agent", "persistence", "all-in-one")
    }


@pytest.mark.parametrize("variant", [LOCAL, PRODUCTION], ids=str)
def test_every_image_is_of_one_version(rendered: Renderer, variant: Variant) -> None:
    images = {one["image"] for pod in rendered(variant).pods() for one in pod.containers}
    assert [image for image in images if ":" not in image or image.endswith(":latest")] == []


def test_the_prometheus_rule_is_what_the_rule_files_say(rendered: Renderer) -> None:
    assert prometheus_rules.TARGET.read_text() == prometheus_rules.text(), "run: make kubernetes"
    wanted = [
        group
        for path in sorted(prometheus_rules.RULES.glob("*.yml"))
        for group in yaml.safe_load(path.read_text())["groups"]
    ]
    (rule,) = rendered(PRODUCTION).of("PrometheusRule")
    assert rule["spec"]["groups"] == wanted


def test_every_dashboard_is_brought_as_it_is(rendered: Renderer) -> None:
    files = sorted((PROJECT / "observability" / "grafana" / "dashboards").glob("*.json"))
    maps = [
        one for one in rendered(PRODUCTION).of("ConfigMap") if "grafana_dashboard" in one["metadata"].get("labels", {})
    ]
    brought = {Path(name).name: text for one in maps for name, text in one["data"].items()}
    assert brought == {path.name: path.read_text() for path in files}
