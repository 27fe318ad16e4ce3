"""The network policies let through what the code declares, and nothing else."""

import copy
from typing import Any
from urllib.parse import urlsplit

import pytest

from contracts.traffic import SERVICES, TRAFFIC
from tests.unit.deploy.kubernetes.edges import ANYBODY, DNS, INTERNET, PRIVATE, Edge, allowed
from tests.unit.deploy.kubernetes.rendered import (
    EVERYTHING,
    HPA,
    LOCAL,
    PRODUCTION,
    SETTINGS,
    Manifests,
    Pod,
    Renderer,
    Variant,
)

# Settings that hold an address which the service itself connects to.
CONNECTS = ("nats_url", "otlp_endpoint", "redis_url", "qdrant_url", "database_url", "llm_base_url", "jwt_issuer")
# The others that hold an address, and why they open nothing here.
ELSEWHERE = {
    "sentry_dsn": "no component sets it: who uses it writes a policy for it",
    "embedding_url": "what parser, embedder and retriever must agree on; the embedder alone connects, below",
    "next_embedding_url": "as embedding_url",
    "jwt_jwks_url": "beside jwt_issuer, on the internet as well",
    "gateway_cors_origins": "who may call, from a browser",
}
HTTPS = 443
# Hosts of a private network: in the Secrets as they are made, and in the overlay.
MANAGED = {"postgres", "redis"}
DOMAIN = ".internal"


@pytest.mark.parametrize("variant", [LOCAL, PRODUCTION, EVERYTHING, HPA], ids=str)
def test_policies_allow_every_connection_that_the_code_declares_and_none_more(
    rendered: Renderer, variant: Variant
) -> None:
    """INVARIANT: a new address in a service's settings works in the cluster, and a removed one leaves no way open."""
    manifests = rendered(variant)
    found, wanted = allowed(manifests), set(declared(manifests))
    assert sorted(wanted - found) == [], "declared, and held up"
    assert sorted(found - wanted) == [], "let through, and declared nowhere"


def declared(manifests: Manifests) -> list[Edge]:
    """Return the connections that settings, streams and tools of a variant ask for."""
    pods = manifests.pods()
    edges = [Edge(ANYBODY, "gateway", 8000), *(Edge(pod.app, DNS, 53) for pod in pods)]
    for pod in [one for one in pods if one.app in SETTINGS]:
        edges += _of_settings(pod, manifests)
    if manifests.named("StatefulSet", "nats")["spec"]["replicas"] > 1:
        edges.append(Edge("nats", "nats", 6222))
    if manifests.of("ServiceMonitor"):
        edges += [Edge("monitoring/prometheus", service, 8000) for service in SERVICES]
    if manifests.of("ScaledObject"):
        edges.append(Edge("keda/keda-operator", "nats", 8222))
    return edges


def _of_settings(pod: Pod, manifests: Manifests) -> list[Edge]:
    settings: Any = manifests.settings(pod)
    addresses = [str(value) for name in CONNECTS if (value := getattr(settings, name, None))]
    # A command sends no spans.
    if pod.app == "topology":
        addresses.remove(settings.otlp_endpoint)
    if pod.app == "embedder" and settings.embedding_url:
        addresses.append(settings.embedding_url)
    if pod.app == "parser" and settings.fetch_urls == "on":
        addresses.append("https://documents.example.com")
    return [edge for address in addresses for edge in _edges_to(pod, address, manifests)]


def _edges_to(pod: Pod, addresses: str, manifests: Manifests) -> list[Edge]:
    found = []
    for address in addresses.split(","):
        parts = urlsplit(address)
        host = parts.hostname or ""
        port = parts.port or HTTPS
        first, _, rest = host.rpartition(".")
        if {one["metadata"]["name"] for one in manifests.of("Service")} & {host, rest}:
            target = manifests.named("Service", rest if first else host)["spec"]["selector"]
            (name,) = {one.app for one in manifests.pods() if target.items() <= one.labels.items()}
            found.append(Edge(pod.app, name, port))
        elif host.endswith(".observability"):
            found.append(Edge(pod.app, f"observability/{host.partition('.')[0]}", port))
        else:
            managed = host in MANAGED or host.endswith(DOMAIN)
            found.append(Edge(pod.app, PRIVATE if managed else INTERNET, port))
    return found


def test_a_pod_that_no_other_policy_knows_may_do_nothing(rendered: Renderer) -> None:
    spec = rendered(LOCAL).named("NetworkPolicy", "nothing-by-default")["spec"]
    assert spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_every_service_that_has_traffic_on_the_broker_reaches_it(rendered: Renderer) -> None:
    talking = {service for row in TRAFFIC for service in (*row.sends, *row.hears, *row.answers)}
    reaching = {edge.source for edge in allowed(rendered(LOCAL)) if (edge.target, edge.port) == ("nats", 4222)}
    assert reaching == talking | {"topology"}


def test_every_setting_that_holds_an_address_is_known_here() -> None:
    """A new one connects somewhere: it needs a policy, or a reason why not."""
    fields = {name for settings in SETTINGS.values() for name in settings.model_fields}
    ends = ("_url", "_urls", "_endpoint", "_dsn", "_issuer", "_origins")
    addresses = {name for name in fields if name.endswith(ends)} - {"fetch_urls"}
    assert addresses == {*CONNECTS, *ELSEWHERE}


def test_without_its_policy_a_connection_is_missed_and_without_the_default_one_too_many_are_found(
    rendered: Renderer,
) -> None:
    manifests = rendered(LOCAL)
    for name, edge in (
        ("services-to-postgres", Edge("persistence", "postgres", 5432)),
        ("postgres-from-services", Edge("persistence", "postgres", 5432)),
        ("names", Edge("gateway", DNS, 53)),
    ):
        assert edge in allowed(manifests)
        assert edge not in allowed(_without(name, manifests)), name
    assert Edge("gateway", "postgres", 5432) not in allowed(_without("postgres-from-services", manifests))
    opened = _without("nothing-by-default", _without("names", _without("postgres-from-services", manifests)))
    assert Edge("redis", "postgres", 5432) in allowed(opened)


@pytest.mark.parametrize("variant", [LOCAL, EVERYTHING], ids=str)
def test_ports_of_others_are_numbers(rendered: Renderer, variant: Variant) -> None:
    """Not every network knows the names that another pod gives its ports."""
    rules = [rule for one in rendered(variant).of("NetworkPolicy") for rule in one["spec"].get("egress", [])]
    assert len(rules) >= 5
    assert all(isinstance(port["port"], int) for rule in rules for port in rule["ports"])


def _without(name: str, manifests: Manifests) -> Manifests:
    kept = tuple(one for one in copy.deepcopy(manifests.objects) if one["metadata"]["name"] != name)
    return Manifests(manifests.variant, kept)
