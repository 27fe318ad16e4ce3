"""Who may talk to whom by the network policies: a small reading of what the cluster's network makes of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.unit.deploy.kubernetes.rendered import NAME, Json, Manifests, Pod

ANYBODY = "anybody"
INTERNET = "internet"
PRIVATE = "private network"
NAMESPACE = "kubernetes.io/metadata.name"
DNS = "kube-system/kube-dns"
_PRIVATE_RANGES = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"}


@dataclass(frozen=True, order=True)
class Edge:
    """`source` may open connections to a port of `target`; pods of other namespaces are `namespace/name`."""

    source: str
    target: str
    port: int


def selects(selector: Json, labels: dict[str, str]) -> bool:
    """Tell whether a label selector takes what has these labels."""
    for one in selector.get("matchExpressions", []):
        if one["operator"] != "In":
            raise NotImplementedError(one["operator"])
        if labels.get(one["key"]) not in one["values"]:
            return False
    wanted: dict[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= labels.items()


def allowed(manifests: Manifests) -> set[Edge]:
    """Return every connection that the policies of a variant let through."""
    pods, policies = manifests.pods(), manifests.of("NetworkPolicy")
    found = {Edge(one.app, *reached) for one in pods for reached in _outside(one, policies)}
    found |= {Edge(caller, one.app, port) for one in pods for caller, port in _callers(one, policies)}
    for source in pods:
        for target in pods:
            for name, port in target.ports.items():
                if _may_send(source, target, name, port, policies) and _may_hear(source, target, name, port, policies):
                    found.add(Edge(source.app, target.app, port))
    return found


def _rules(pod: Pod, policies: list[Json], direction: str) -> list[Json] | None:
    """Return the rules that hold for a pod; None when no policy does, and everything may pass."""
    holding = [
        policy["spec"]
        for policy in policies
        if direction in policy["spec"]["policyTypes"] and selects(policy["spec"]["podSelector"], pod.labels)
    ]
    return [rule for spec in holding for rule in spec.get(direction.lower(), [])] if holding else None


def _may_send(source: Pod, target: Pod, name: str, port: int, policies: list[Json]) -> bool:
    rules = _rules(source, policies, "Egress")
    return rules is None or any(_is_peer(rule.get("to"), target) and _is_port(rule, name, port) for rule in rules)


def _may_hear(source: Pod, target: Pod, name: str, port: int, policies: list[Json]) -> bool:
    rules = _rules(target, policies, "Ingress")
    return rules is None or any(_is_peer(rule.get("from"), source) and _is_port(rule, name, port) for rule in rules)


def _is_peer(peers: list[Json] | None, pod: Pod) -> bool:
    if peers is None:
        return True
    here = [peer for peer in peers if "podSelector" in peer and "namespaceSelector" not in peer]
    return any(selects(peer["podSelector"], pod.labels) for peer in here)


def _is_port(rule: Json, name: str, port: int) -> bool:
    return "ports" not in rule or any(one["port"] in (name, port) for one in rule["ports"])


def _outside(pod: Pod, policies: list[Json]) -> Iterator[tuple[str, int]]:
    """Yield what a pod may reach beyond the namespace."""
    for rule in _rules(pod, policies, "Egress") or []:
        for peer in rule["to"]:
            for port in rule["ports"]:
                if "ipBlock" in peer:
                    yield _network(peer["ipBlock"]), port["port"]
                elif "namespaceSelector" in peer:
                    yield _elsewhere(peer), port["port"]


def _callers(pod: Pod, policies: list[Json]) -> Iterator[tuple[str, int]]:
    """Yield who may call a pod from beyond the namespace."""
    for rule in _rules(pod, policies, "Ingress") or []:
        for port in rule["ports"]:
            number: int = pod.ports.get(port["port"], 0) if isinstance(port["port"], str) else port["port"]
            if "from" not in rule:
                yield ANYBODY, number
            for peer in rule.get("from", []):
                if "namespaceSelector" in peer:
                    yield _elsewhere(peer), number


def _network(block: Json) -> str:
    if block["cidr"] in _PRIVATE_RANGES:
        return PRIVATE
    assert block["cidr"] == "0.0.0.0/0"
    assert set(block["except"]) >= _PRIVATE_RANGES | {"169.254.0.0/16"}, "the internet holds no address of ours"
    return INTERNET


def _elsewhere(peer: Json) -> str:
    namespace: Any = peer["namespaceSelector"]["matchLabels"][NAMESPACE]
    (label, name), *others = peer["podSelector"]["matchLabels"].items()
    assert label in {NAME, "k8s-app"}
    assert not others
    return f"{namespace}/{name}"
