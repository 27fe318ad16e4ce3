"""What runs, as whom, with which settings, and how it ends."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from contracts.permissions import fixed_users
from contracts.retrieval import REINDEX_STEP_SECONDS
from deploy.docker.probe import PATIENCE_SECONDS
from deploy.kubernetes.secrets import RANDOM, TEMPLATE, YOURS, filled_in
from shared.ending import CLOSING_SECONDS
from shared.health import health_routes
from tests.unit.deploy.kubernetes.edges import DNS, PRIVATE, Edge, allowed
from tests.unit.deploy.kubernetes.rendered import (
    EVERYTHING,
    HPA,
    KUBERNETES,
    LOCAL,
    NAME,
    PRODUCTION,
    SERVICE_NAMES,
    SETTINGS,
    Json,
    Manifests,
    Pod,
    Renderer,
    Variant,
)

README = (KUBERNETES / "README.md").read_text()
VARIANTS = [LOCAL, PRODUCTION, EVERYTHING]
# The service with the longest name for it: what one piece of work may take, in seconds, by the service's own settings.
LONGEST: dict[str, Callable[[Any], float]] = {
    "gateway": lambda s: max(s.gateway_object_seconds, s.gateway_query_timeout_seconds),
    "parser": lambda s: max(s.parser_fetch_seconds, s.parser_fetch_url_seconds) + s.parser_wall_seconds,
    "embedder": lambda s: s.embedding_timeout_seconds,
    "retriever": lambda s: max(REINDEX_STEP_SECONDS, s.qdrant_timeout_seconds + s.rerank_budget_seconds),
    "agent": lambda s: max(s.llm_timeout_seconds, s.agent_max_seconds) + s.conversation_record_seconds,
    "persistence": lambda s: s.persistence_statement_timeout_seconds,
}
UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "m": 0.001, "": 1}
SAFE_VOLUMES = {
    "configMap",
    "emptyDir",
    "projected",
    "secret",
    "persistentVolumeClaim",
    "downwardAPI",
    "csi",
    "ephemeral",
}


def quantity(text: object) -> float:
    """Return what a quantity such as 512Mi or 250m stands for."""
    found = re.fullmatch(r"([\d.]+)([A-Za-z]*)", str(text))
    assert found is not None, text
    return float(found[1]) * UNITS[found[2]]


@pytest.fixture(params=VARIANTS, ids=str)
def manifests(request: pytest.FixtureRequest, rendered: Renderer) -> Manifests:
    variant: Variant = request.param
    return rendered(variant)


def against_the_restricted_profile(pod: Pod) -> list[str]:
    """Return what the profile `restricted` of the Pod Security Standards would refuse, and what we ask beyond it."""
    spec, found = pod.spec, []
    of_pod = spec.get("securityContext", {})
    found += [f"{name} of the host" for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    found += [f"volume {one['name']}" for one in spec.get("volumes", []) if not SAFE_VOLUMES & set(one)]
    if spec.get("automountServiceAccountToken") is not False:
        found.append("a token of its account")
    for one in pod.containers:
        own = one.get("securityContext", {})
        both = {**of_pod, **own}
        checks = {
            "runAsNonRoot": both.get("runAsNonRoot") is True,
            "runAsUser": isinstance(both.get("runAsUser"), int) and both["runAsUser"] > 0,
            "seccompProfile": both.get("seccompProfile", {}).get("type") == "RuntimeDefault",
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
            "privileged": not own.get("privileged", False),
            "capabilities": own.get("capabilities") == {"drop": ["ALL"]},
            "readOnlyRootFilesystem": own.get("readOnlyRootFilesystem") is True,
            "hostPort": not any("hostPort" in port for port in one.get("ports", [])),
        }
        found += [f"{one['name']}: {name}" for name, holds in checks.items() if not holds]
    return found


def test_no_pod_is_refused_by_the_restricted_profile_that_the_namespace_enforces(manifests: Manifests) -> None:
    labels = manifests.named("Namespace", "rag")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    pods = manifests.pods()
    assert len(pods) >= 9
    assert {str(pod): found for pod in pods if (found := against_the_restricted_profile(pod))} == {}


def test_every_part_has_an_account_of_its_own_without_a_token(manifests: Manifests) -> None:
    accounts = {one["metadata"]["name"]: one for one in manifests.of("ServiceAccount")}
    used = {pod.spec["serviceAccountName"]: pod.app for pod in manifests.pods()}
    assert set(used) == set(accounts)
    assert all(account["automountServiceAccountToken"] is False for account in accounts.values())
    assert len(used) == len({str(pod) for pod in manifests.pods() if pod.kind != "CronJob"})


def test_every_service_runs_and_both_lanes_of_the_embedder(manifests: Manifests) -> None:
    assert {pod.app for pod in manifests.services()} == set(SERVICE_NAMES)
    lanes = [manifests.environment(pod)["RAG_EMBEDDER_LANES"] for pod in manifests.services() if pod.app == "embedder"]
    assert sorted(lanes) == ["bulk", "interactive"]


def test_every_variable_is_a_setting_of_the_service_that_finds_it_and_is_taken(manifests: Manifests) -> None:
    """Settings ignore what they do not know: a name that is wrong here would be a setting that has no effect."""
    for pod in [one for one in manifests.pods() if one.app in SETTINGS]:
        environment = manifests.environment(pod)
        ours = {name.removeprefix("RAG_").lower() for name in environment if name.startswith("RAG_")}
        assert ours - set(SETTINGS[pod.app].model_fields) == set(), pod
        assert set(environment) == {f"RAG_{name.upper()}" for name in ours}, pod
        settings = manifests.settings(pod)
        assert settings.nats_user == ("provisioner" if pod.app == "topology" else pod.app)
        assert settings.nats_password == environment["RAG_NATS_PASSWORD"]


def test_services_listen_where_probes_and_services_look_for_them(manifests: Manifests) -> None:
    paths = {route.path for route in health_routes(None)}  # type: ignore[arg-type]  # Only their paths are read.
    for pod in manifests.services():
        (container,) = pod.containers
        settings = manifests.settings(pod)
        assert (settings.host, pod.ports) == ("0.0.0.0", {"http": settings.port}), pod
        live, ready = (container[probe]["httpGet"] for probe in ("livenessProbe", "readinessProbe"))
        assert (live, ready) == ({"path": "/live", "port": "http"}, {"path": "/ready", "port": "http"})
        assert {live["path"], ready["path"]} <= paths
    for one in manifests.of("Service"):
        behind = [pod for pod in manifests.pods() if one["spec"]["selector"].items() <= pod.labels.items()]
        assert behind, one["metadata"]["name"]
        wanted = {port["targetPort"] for port in one["spec"]["ports"]}
        assert all(wanted <= set(pod.ports) for pod in behind), one["metadata"]["name"]


def test_a_gateway_that_asks_for_certificates_is_probed_with_one(rendered: Renderer) -> None:
    """A kubelet's httpGet shows none: every gateway would be killed for being silent, and none would be ready."""
    manifests = rendered(Variant("local", ("gateway-mtls",)))
    for pod in manifests.services():
        (container,) = pod.containers
        probes = {"/live": container["livenessProbe"], "/ready": container["readinessProbe"]}
        if pod.app != "gateway":
            assert all("exec" not in probe for probe in probes.values()), pod
            continue
        settings: Any = manifests.settings(pod)
        mounted = {one["mountPath"]: one["name"] for one in container["volumeMounts"]}
        for path, probe in probes.items():
            *python, script, port, asked, folder = probe["exec"]["command"]
            assert "httpGet" not in probe
            assert (python, port, asked) == (["python3", "-IS"], str(settings.port), path)
            assert (KUBERNETES.parents[1] / script.removeprefix("/app/")).is_file()
            assert mounted[folder] == "gateway-probe-tls"
            assert probe["timeoutSeconds"] > PATIENCE_SECONDS
        assert settings.gateway_tls_client_ca.parent == settings.gateway_tls_cert.parent
        assert mounted[str(settings.gateway_tls_cert.parent)] == "gateway-tls"
    assert against_the_restricted_profile(next(pod for pod in manifests.services() if pod.app == "gateway")) == []


def test_a_frozen_process_ends_before_the_kubelet_kills_it_for_being_silent(manifests: Manifests) -> None:
    """Its own watchdog says what it hung in; a probe's kill says nothing."""
    for pod in manifests.services():
        probe = pod.containers[0]["livenessProbe"]
        patience = probe["periodSeconds"] * (probe["failureThreshold"] - 1) + probe["timeoutSeconds"]
        assert patience <= 60
        assert manifests.settings(pod).loop_frozen_seconds <= probe["periodSeconds"] * probe["failureThreshold"]


def test_a_service_is_given_longer_to_end_than_its_longest_work_takes(manifests: Manifests) -> None:
    """INVARIANT: whoever raises a timeout of a service has to give its pods the time to get to it."""
    for pod in manifests.services():
        settings = manifests.settings(pod)
        assert settings.drain_seconds >= LONGEST[pod.app](settings), pod
        before = pod.containers[0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        assert pod.spec["terminationGracePeriodSeconds"] > before + settings.drain_seconds + CLOSING_SECONDS, pod


def test_only_the_gateway_is_called_from_outside_and_its_callers_come_back_to_it(manifests: Manifests) -> None:
    outside = [one for one in manifests.of("Service") if one["spec"].get("type", "ClusterIP") != "ClusterIP"]
    (gateway,) = outside
    assert gateway["metadata"]["name"] == "gateway"
    assert (gateway["spec"]["type"], gateway["spec"]["sessionAffinity"]) == ("LoadBalancer", "ClientIP")


def test_who_may_call_is_asked_for_a_key(manifests: Manifests) -> None:
    (gateway,) = (pod for pod in manifests.services() if pod.app == "gateway")
    assert "keys" in manifests.environment(gateway)["RAG_AUTH"].split(",")


@pytest.mark.parametrize("variant", [PRODUCTION, HPA], ids=str)
def test_an_autoscaled_deployment_says_no_number_of_its_own(rendered: Renderer, variant: Variant) -> None:
    """It would be set back to that number with every release, in the middle of the day."""
    services = [one for one in rendered(variant).of("Deployment") if one["metadata"]["labels"][NAME] in SERVICE_NAMES]
    assert len(services) == 7
    assert [one["metadata"]["name"] for one in services if "replicas" in one["spec"]] == []


def test_three_gateways_and_two_of_everything_that_somebody_waits_for() -> None:
    counts = {}
    for service in SERVICE_NAMES:
        for one in yaml.safe_load_all((KUBERNETES / "base" / f"{service}.yaml").read_text()):
            if one["kind"] == "Deployment":
                counts[one["metadata"]["name"]] = one["spec"]["replicas"]
    assert counts.pop("gateway") == 3
    assert len(counts) == 6
    assert min(counts.values()) >= 2


def test_a_node_can_be_emptied_and_never_takes_two_of_one_kind_at_once(manifests: Manifests) -> None:
    workloads = [pod for pod in manifests.pods() if pod.kind in {"Deployment", "StatefulSet"}]
    budgets = manifests.of("PodDisruptionBudget")
    assert len(budgets) == len(workloads)
    for pod in workloads:
        (own,) = (one for one in budgets if one["spec"]["selector"]["matchLabels"].items() <= pod.labels.items())
        assert own["spec"]["selector"]["matchLabels"] == pod.owner["spec"]["selector"]["matchLabels"]
        alone = pod.kind == "StatefulSet" and pod.owner["spec"]["replicas"] == 1
        assert own["spec"]["maxUnavailable"] == (0 if alone and pod.app != "nats" else 1), pod


def test_replicas_are_spread_over_zones_and_nodes(manifests: Manifests) -> None:
    for pod in [*manifests.services(), *(one for one in manifests.pods() if one.app == "nats")]:
        spread = pod.spec["topologySpreadConstraints"]
        assert [one["topologyKey"] for one in spread] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"], pod
        assert all(one["labelSelector"]["matchLabels"].items() <= pod.labels.items() for one in spread), pod


def test_everything_says_what_it_needs_and_what_it_may_have(manifests: Manifests) -> None:
    for pod in manifests.pods():
        for one in pod.containers:
            needs, may = one["resources"]["requests"], one["resources"]["limits"]
            assert set(needs) == set(may) == {"cpu", "memory"}, pod
            assert all(0 < quantity(needs[name]) <= quantity(may[name]) for name in needs), pod
        scratch = [one["emptyDir"] for one in pod.spec.get("volumes", []) if "emptyDir" in one]
        assert all("sizeLimit" in one for one in scratch), pod


def test_a_pod_has_room_for_what_its_settings_allow(manifests: Manifests) -> None:
    pods = {pod.name: pod for pod in manifests.services()}

    def limit(name: str, what: str = "memory") -> float:
        return quantity(pods[name].containers[0]["resources"]["limits"][what])

    parser: Any = manifests.settings(pods["parser"])
    children = parser.parser_workers + parser.parser_early_documents
    assert limit("parser") > children * parser.parser_memory_bytes + 512 * 2**20
    gateway: Any = manifests.settings(pods["gateway"])
    assert limit("gateway") > 2 * gateway.gateway_max_held_bytes
    (scratch,) = (one["emptyDir"]["sizeLimit"] for one in pods["gateway"].spec["volumes"] if one["name"] == "tmp")
    assert quantity(scratch) > gateway.gateway_max_held_bytes
    embedder: Any = manifests.settings(pods["embedder-bulk"])
    assert 1 <= embedder.embedder_threads <= limit("embedder-bulk", "cpu")
    queries: Any = manifests.settings(pods["embedder-interactive"])
    assert queries.embedder_query_threads <= limit("embedder-interactive", "cpu")
    for name in ("retriever", "agent"):
        cached: Any = manifests.settings(pods[name])
        assert limit(name) > 8 * cached.cache_memory_bytes


def test_secrets_come_by_key_and_only_to_who_needs_them(manifests: Manifests) -> None:
    """No secret is a value, none comes with others, and the template knows each: no more and no fewer."""
    for pod in manifests.pods():
        for one in pod.containers:
            assert all("secretRef" not in source for source in one.get("envFrom", [])), pod
            for variable in one.get("env", []):
                source = variable.get("valueFrom", {})
                assert set(source) <= {"secretKeyRef", "fieldRef"}
                if re.search(r"(KEY|PASSWORD|SECRET|TOKEN|PEPPER|DSN)$|DATABASE_URL|REDIS_URL", variable["name"]):
                    is_file = str(variable.get("value", "")).startswith("/")
                    assert "secretKeyRef" in source or is_file, (str(pod), variable["name"])
    text = "".join(
        str(one.get("data", "")) for one in manifests.of("ConfigMap") if one["metadata"]["name"].startswith("rag-")
    )
    assert "password" not in text.lower()
    assert manifests.of("Secret") == []


def test_every_password_of_the_broker_goes_to_its_user_alone(manifests: Manifests) -> None:
    for pod in manifests.pods():
        keys = {
            variable["valueFrom"]["secretKeyRef"]["key"]
            for one in pod.containers
            for variable in one.get("env", [])
            if variable.get("valueFrom", {}).get("secretKeyRef", {}).get("name") == "rag-broker"
        }
        user = {"topology": "provisioner"}.get(pod.app, pod.app)
        if pod.app == "nats":
            assert keys - {"NATS_PASSWORD_ROUTE"} == {f"NATS_PASSWORD_{name.upper()}" for name in fixed_users()}
        elif pod.app in SETTINGS:
            assert keys == {f"NATS_PASSWORD_{user.upper()}"}
        else:
            assert keys == set()


def test_the_template_holds_every_secret_that_a_pod_asks_for_and_no_other(rendered: Renderer) -> None:
    asked: set[tuple[str, str]] = set()
    for manifests in (rendered(LOCAL), rendered(EVERYTHING), rendered.folder("first-key")):
        asked |= set(_secret_keys(manifests))
    documents, missing = filled_in()
    held = {(one["metadata"]["name"], key) for one in documents for key in one["stringData"]}
    held |= {("rag-secrets", key) for key in missing}
    assert asked == held


def _secret_keys(manifests: Manifests) -> list[tuple[str, str]]:
    sources: list[Json] = [
        variable["valueFrom"]["secretKeyRef"]
        for pod in manifests.pods()
        for one in pod.containers
        for variable in one.get("env", [])
        if "secretKeyRef" in variable.get("valueFrom", {})
    ]
    return [(source["name"], source["key"]) for source in sources]


def test_the_template_holds_no_secret_and_every_run_makes_others() -> None:
    values = re.findall(r"^  [A-Za-z_-]+: (\S+)$", TEMPLATE.read_text().split("stringData:", 1)[1], re.MULTILINE)
    plain = [value for value in values if "<" not in value and value not in {"rag", "rag-secrets", "Opaque"}]
    assert plain == []
    assert {RANDOM, YOURS} <= set(values)
    (first, _), (second, _) = filled_in(), filled_in()
    for one, other in zip(first, second, strict=True):
        assert all(one["stringData"][key] != other["stringData"][key] for key in one["stringData"])
        assert all(re.search(r"p[0-9a-f]{48}", value) for value in one["stringData"].values())


def test_the_job_of_the_first_key_is_as_confined_as_the_rest_and_finds_the_database(rendered: Renderer) -> None:
    manifests = rendered.folder("first-key")
    (pod,) = manifests.pods()
    assert against_the_restricted_profile(pod) == []
    environment = manifests.environment(pod)
    assert set(environment) == {"RAG_DATABASE_URL", "RAG_KEY_PEPPER"}
    settings: Any = manifests.settings(pod)
    assert settings.has_sql_server
    assert settings.key_pepper == environment["RAG_KEY_PEPPER"]
    reached = allowed(Manifests(LOCAL, (*rendered(LOCAL).objects, *manifests.objects)))
    assert Edge("first-key", "postgres", 5432) in reached
    assert {edge.target for edge in reached if edge.source == "first-key"} == {"postgres", DNS, PRIVATE}


def test_the_readme_tells_how_long_each_service_may_take_to_end(rendered: Renderer) -> None:
    told = set(re.findall(r"^\| ([a-z]+) \| .* \| (\d+) s \| (\d+) s \|$", README, re.MULTILINE))
    assert told == {
        (pod.app, f"{rendered(LOCAL).settings(pod).drain_seconds:g}", str(pod.spec["terminationGracePeriodSeconds"]))
        for pod in rendered(LOCAL).services()
    }


def test_what_belongs_to_the_broker_can_be_applied_by_its_label(rendered: Renderer) -> None:
    manifests = rendered(PRODUCTION)
    mine = [one["kind"] for one in manifests.objects if one["metadata"].get("labels", {}).get(NAME) == "nats"]
    assert sorted(mine) == ["ConfigMap", "PodDisruptionBudget", "Service", "Service", "ServiceAccount", "StatefulSet"]


def test_the_broker_on_one_machine_gets_its_streams_again_by_the_very_same_job(rendered: Renderer) -> None:
    manifests = rendered(LOCAL)
    once = manifests.named("Job", "topology")["spec"]["template"]
    again = manifests.named("CronJob", "topology-again")["spec"]["jobTemplate"]["spec"]["template"]
    assert again == once
    assert rendered(PRODUCTION).of("CronJob") == []
