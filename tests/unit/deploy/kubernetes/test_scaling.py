"""What replicas follow is what the code calls it: streams, consumers, metrics, and the bounds of each."""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from contracts.topology import CONSUMERS, MOST_REPLICAS, STREAMS, Consumer, for_workers
from contracts.traffic import CONSUMED_BY, TRAFFIC
from deploy.kubernetes import prometheus_rules
from services.persistence.letter_handlers import RARE_WORKERS
from tests.load import simulation
from tests.load.simulation import TIMES
from tests.load.simulation_scaling import metric_of
from tests.load.simulation_thresholds import READ_THREADS, thresholds
from tests.telemetry.registry import names_in, registry
from tests.unit.deploy.kubernetes.rendered import (
    COMPONENT,
    HPA,
    KUBERNETES,
    NAME,
    PART_OF,
    PRODUCTION,
    SERVICE_NAMES,
    Json,
    Manifests,
    Pod,
    Renderer,
    Variant,
)

BY_PLACE = {(one.stream, one.name): one for one in CONSUMERS}
INTERACTIVE = {"gateway", "embedder-interactive", "retriever", "agent"}
DOWN_TO_ZERO = {"parser", "embedder-bulk"}
# How many messages of a consumer a replica works on; of the others few.
WORKERS = {
    "parser": "parser_workers",
    "embedder": "embedder_workers",
    "retriever": "retriever_workers",
    "retriever-cleanup": "retriever_cleanup_workers",
    "agent": "agent_workers",
    "persistence-intake": "persistence_workers",
    "persistence": "persistence_workers",
    "persistence-turns": "persistence_workers",
}
# Old letters and rare remarks are not what persistence needs replicas for.
NOT_SCALED_ON = {"persistence-dead", "persistence-advisories"}


@pytest.fixture
def manifests(rendered: Renderer) -> Manifests:
    return rendered(PRODUCTION)


def scalers(manifests: Manifests) -> Iterator[tuple[str, Json, Pod]]:
    """Yield every scaler with its name and the pods that it makes more or fewer."""
    pods = {pod.name: pod for pod in manifests.services()}
    for one in [*manifests.of("ScaledObject"), *manifests.of("HorizontalPodAutoscaler")]:
        yield one["metadata"]["name"], one["spec"], pods[one["spec"]["scaleTargetRef"]["name"]]


def triggers(manifests: Manifests, kind: str) -> list[tuple[Pod, Json]]:
    return [
        (pod, {"metricType": "AverageValue", **one})
        for _, spec, pod in scalers(manifests)
        for one in spec["triggers"]
        if one["type"] == kind
    ]


def test_every_deployment_has_one_scaler_of_its_name(rendered: Renderer) -> None:
    for variant in (PRODUCTION, HPA):
        found = list(scalers(rendered(variant)))
        assert sorted(name for name, _, _ in found) == sorted(pod.name for pod in rendered(variant).services())
        assert all(name == pod.name for name, _, pod in found)


def test_what_people_wait_for_never_goes_below_two_and_queues_go_down_to_nothing(manifests: Manifests) -> None:
    for name, spec, _ in scalers(manifests):
        kinds = {one["type"] for one in spec["triggers"]}
        if name in DOWN_TO_ZERO:
            assert (spec["minReplicaCount"], kinds) == (0, {"nats-jetstream"})
            assert spec["cooldownPeriod"] >= 60
        else:
            assert spec["minReplicaCount"] >= 2
            assert "prometheus" in kinds, name
        assert spec["fallback"]["replicas"] >= max(1, spec["minReplicaCount"])
        assert spec["fallback"]["behavior"] == "currentReplicasIfHigher", "an outage of Prometheus must take none away"
        assert spec["maxReplicaCount"] > spec["minReplicaCount"]
        assert spec["pollingInterval"] <= (5 if name in INTERACTIVE - {"gateway"} else 15)


def test_the_readme_tells_how_few_and_how_many_there_may_be(manifests: Manifests) -> None:
    text = (KUBERNETES / "README.md").read_text()
    told = {
        one[0]: (int(one[1]), int(one[2]))
        for one in re.findall(r"^\| ([a-z-]+) \| (\d+)\u2013(\d+) \|", text, re.MULTILINE)
    }
    assert told == {name: (spec["minReplicaCount"], spec["maxReplicaCount"]) for name, spec, _ in scalers(manifests)}


def test_queues_are_declared_ones_and_each_is_followed_by_who_works_on_it(manifests: Manifests) -> None:
    found: dict[str, set[str]] = {}
    for pod, one in triggers(manifests, "nats-jetstream"):
        place = (one["metadata"]["stream"], one["metadata"]["consumer"])
        assert place in BY_PLACE, f"{pod}: no such consumer: {place}"
        found.setdefault(pod.app, set()).add(place[1])
        assert int(one["metadata"]["lagThreshold"]) > 0
    for consumer, service in CONSUMED_BY.items():
        if consumer.name not in NOT_SCALED_ON:
            assert consumer.name in found[service], consumer.name
    assert found["embedder"] == {"embedder", "parser"}, "its own queue is bounded: what waits behind it counts, too"


def test_figures_of_the_broker_are_read_where_it_tells_them(manifests: Manifests) -> None:
    (nats,) = (pod for pod in manifests.pods() if pod.app == "nats")
    for _, one in triggers(manifests, "nats-jetstream"):
        # Without accounts every user is of the one that is always there.
        assert one["metadata"]["account"] == "$G"
        host, _, port = one["metadata"]["natsServerMonitoringEndpoint"].partition(":")
        name, namespace, *rest = host.split(".")
        assert (namespace, rest) == ("rag", ["svc", "cluster", "local"])
        service = manifests.named("Service", name)
        assert service["spec"]["clusterIP"] == "None", "the leader of a stream tells its figures: each server is asked"
        assert int(port) == nats.ports["monitor"]
        assert "monitor" in {one["targetPort"] for one in service["spec"]["ports"]}
    (files,) = (one["data"] for one in manifests.of("ConfigMap") if one["metadata"]["name"].startswith("nats-config"))
    assert not [name for name, text in files.items() if re.search(r"^\s*accounts", text, re.MULTILINE)]


@pytest.mark.parametrize("variant", [PRODUCTION, HPA], ids=str)
def test_the_broker_hands_out_what_the_most_replicas_work_on_and_twice_that_at_most(
    rendered: Renderer, variant: Variant
) -> None:
    """INVARIANT: replicas beyond what `max_ack_pending` has work for would stand idle, whatever waits.

    The bound is of all replicas together: whoever raises a maximum or a number of workers has to raise it.
    """
    manifests = rendered(variant)
    seen = set()
    for _, spec, pod in scalers(manifests):
        most = spec.get("maxReplicaCount") or spec["maxReplicas"]
        assert most <= MOST_REPLICAS
        for consumer in [one for one, service in CONSUMED_BY.items() if service == pod.app]:
            workers = _workers(consumer, manifests.settings(pod))
            assert consumer.max_ack_pending == for_workers(workers) >= most * workers, consumer.name
            seen.add(consumer)
    assert seen == set(CONSUMERS)


def test_the_most_replicas_are_the_largest_maximum_of_the_manifests(rendered: Renderer) -> None:
    found = [spec["maxReplicaCount"] for _, spec, _ in scalers(rendered(PRODUCTION))]
    found += [spec["maxReplicas"] for _, spec, _ in scalers(rendered(HPA))]
    assert max(found) == MOST_REPLICAS


def test_streams_that_refuse_hold_what_all_replicas_may_have_in_work(manifests: Manifests) -> None:
    """A queue that is full of what is in work refuses everything new, although replicas have room for it."""
    most = {pod.app: (spec["maxReplicaCount"], manifests.settings(pod)) for _, spec, pod in scalers(manifests)}
    for stream in STREAMS:
        for consumer in stream.consumers if stream.max_msgs > 0 else ():
            replicas, settings = most[CONSUMED_BY[consumer]]
            assert stream.max_msgs > replicas * _workers(consumer, settings), stream.name


def _workers(consumer: Consumer, settings: Any) -> int:
    name = WORKERS.get(consumer.name)
    return int(getattr(settings, name)) if name else RARE_WORKERS


def test_thresholds_are_what_the_service_times_make_of_them(manifests: Manifests) -> None:
    """INVARIANT: a threshold is 0.7 of what a replica takes a second, times how long each message is there.

    Whoever measures other service times, or changes a number of workers, computes the thresholds anew.
    """
    found = {
        (name, metric_of(one)): float(one["metadata"].get("lagThreshold") or one["metadata"].get("threshold") or 0.7)
        for name, spec, _ in scalers(manifests)
        for one in spec["triggers"]
        if metric_of(one)
    }
    assert found == {(one.workload, one.metric): one.value for one in thresholds(json.loads(TIMES.read_text()))}
    others = [one for _, spec, _ in scalers(manifests) for one in spec["triggers"] if not metric_of(one)]
    assert [one["metricType"] for one in others] == ["Value"], "a waiting time, which is the same for any number"


def test_the_model_plans_with_the_settings_of_the_pods(manifests: Manifests) -> None:
    own: dict[str, Any] = {pod.name: manifests.settings(pod) for pod in manifests.services()}
    assert own["agent"].agent_workers == simulation.AGENT_WORKERS
    assert own["gateway"].gateway_max_waiting == simulation.SEATS
    assert own["retriever"].max_concurrent_requests == simulation.REQUESTS
    assert own["parser"].parser_ahead_seconds == simulation.AHEAD_SECONDS
    assert own["persistence"].persistence_read_threads == READ_THREADS
    threads = own["embedder-interactive"].embedder_query_threads, own["embedder-bulk"].embedder_threads
    assert (*threads, own["parser"].parser_workers) == (simulation.CORES,) * 3


def test_metrics_are_in_the_registry_with_the_labels_that_they_are_asked_for(manifests: Manifests) -> None:
    found = triggers(manifests, "prometheus")
    assert len(found) >= 6
    for pod, trigger in found:
        query = trigger["metadata"]["query"]
        assert registry().undeclared(query) == set(), pod
        senders = {one.name: one.services for one in registry().metrics if one.series & names_in(query)}
        assert senders
        assert all(pod.app in services for services in senders.values()), senders
        assert 'job="rag"' in query
        assert set(re.findall(r'service="([a-z]+)"', query)) <= {pod.app}
        assert set(re.findall(r'consumer="([a-z-]+)"', query)) <= {consumer.name for consumer in CONSUMERS}
        subjects = {row.subject for row in TRAFFIC if pod.app in row.answers}
        assert set(re.findall(r'subject="([^"]+)"', query)) <= subjects
        # The routes that the objectives ask for, by queries that are tried on a real platform.
        assert all(route in prometheus_rules.text() for route in re.findall(r'http_route="[^"]+"', query))
        assert float(trigger["metadata"]["threshold"]) > 0
        # A time is the same however many replicas there are: it must not be divided by their number.
        assert (trigger["metricType"] == "Value") == query.startswith("histogram_quantile"), pod
        assert urlsplit(trigger["metadata"]["serverAddress"]).port == 9090


def test_the_plain_scalers_keep_three_to_ten_by_processor_time(rendered: Renderer) -> None:
    manifests = rendered(HPA)
    assert manifests.of("ScaledObject") == []
    for _, spec, _ in scalers(manifests):
        assert (spec["minReplicas"], spec["maxReplicas"]) == (3, 10)
        ((metric),) = spec["metrics"]
        assert metric["resource"]["name"] == "cpu"


def test_every_series_gets_the_labels_that_rules_and_dashboards_rely_on(manifests: Manifests) -> None:
    """The monitor's relabelling is carried out here on every Service that it selects."""
    (monitor,) = manifests.of("ServiceMonitor")
    selector = monitor["spec"]["selector"]["matchLabels"]
    (endpoint,) = monitor["spec"]["endpoints"]
    series = []
    for service in manifests.of("Service"):
        labels = service["metadata"]["labels"]
        if selector.items() <= labels.items():
            assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
            series.append(_relabelled(labels, endpoint["relabelings"]))
    assert sorted(one["service"] for one in series) == sorted(SERVICE_NAMES)
    assert {one["job"] for one in series} == {"rag"}
    assert {one["instance"] for one in series} == {"pod-0"}
    assert set(selector) == {PART_OF, COMPONENT}
    assert endpoint["path"] == "/metrics"


def _relabelled(labels: dict[str, str], rules: list[Json]) -> dict[str, str]:
    known = {f"__meta_kubernetes_service_label_{re.sub('[^A-Za-z0-9_]', '_', name)}": v for name, v in labels.items()}
    found = {**known, "__meta_kubernetes_pod_name": "pod-0", "job": labels[NAME], "instance": "10.0.0.1:8000"}
    for rule in rules:
        assert rule["action"] == "replace"
        values = [found.get(name, "") for name in rule.get("sourceLabels", [])]
        found[rule["targetLabel"]] = rule.get("replacement", ";".join(values))
    return found
