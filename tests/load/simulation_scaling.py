"""How KEDA and the autoscaler behind it scale: read from the manifests, and played second by second.

KEDA wakes a workload from nothing when a trigger is active, which it looks at every `pollingInterval`, and puts it to
sleep `cooldownPeriod` after the last one was. In between the autoscaler decides every 15 s by metric and threshold.
"""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

# kube-controller-manager's --horizontal-pod-autoscaler-sync-period and --horizontal-pod-autoscaler-tolerance.
SYNC_SECONDS: Final = 15.0
TOLERANCE: Final = 0.1
# The autoscaler's own policy for more replicas: twice as many or four more in 15 s.
GROWTH_FACTOR, GROWTH_PODS = 2, 4
DEFAULT_COOLDOWN_SECONDS: Final = 300.0
DEFAULT_POLLING_SECONDS: Final = 30.0
DEFAULT_STABILIZATION_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Trigger:
    """A metric and how much of it one replica is for: a durable (`STREAM/consumer`) or what `metric_of` says."""

    metric: str
    threshold: float


@dataclass(frozen=True, slots=True)
class Scaling:
    """What one ScaledObject says; times in seconds."""

    least: int
    most: int
    polling_seconds: float = DEFAULT_POLLING_SECONDS
    cooldown_seconds: float = DEFAULT_COOLDOWN_SECONDS
    stabilization_seconds: float = DEFAULT_STABILIZATION_SECONDS
    step_down_seconds: float = 60.0
    triggers: tuple[Trigger, ...] = ()


def read_scalings(path: Path) -> dict[str, Scaling]:
    """Return the scaling of each workload in a manifest of ScaledObjects."""
    documents = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    specs = [each["spec"] for each in documents if each and each.get("kind") == "ScaledObject"]
    return {spec["scaleTargetRef"]["name"]: _scaling(spec) for spec in specs}


def _scaling(spec: Mapping[str, Any]) -> Scaling:
    behavior = spec.get("advanced", {}).get("horizontalPodAutoscalerConfig", {}).get("behavior", {})
    down = behavior.get("scaleDown", {})
    return Scaling(
        least=spec.get("minReplicaCount", 0),
        most=spec.get("maxReplicaCount", 100),
        polling_seconds=spec.get("pollingInterval", DEFAULT_POLLING_SECONDS),
        cooldown_seconds=spec.get("cooldownPeriod", DEFAULT_COOLDOWN_SECONDS),
        stabilization_seconds=down.get("stabilizationWindowSeconds", DEFAULT_STABILIZATION_SECONDS),
        step_down_seconds=next((policy["periodSeconds"] for policy in down.get("policies", [])), 15.0),
        triggers=tuple(filter(None, map(_trigger, spec["triggers"]))),
    )


def _trigger(spec: Mapping[str, Any]) -> Trigger | None:
    """Return a trigger on a lag, on what is in progress or on cores; None for what the model has no figure of."""
    metric, metadata = metric_of(spec), spec["metadata"]
    if spec["type"] == "nats-jetstream":
        return Trigger(metric, float(metadata["lagThreshold"]))
    if metric == "cpu":
        return Trigger(metric, float(metadata["value"].removesuffix("m")) / 1000)
    return Trigger(metric, float(metadata["threshold"])) if metric in {"requests", "streams", "searches"} else None


def metric_of(spec: Mapping[str, Any]) -> str:
    """Return what a trigger counts: a durable, `streams`, `searches`, `requests`, `cpu`; empty for anything else."""
    metadata = spec["metadata"]
    if spec["type"] == "nats-jetstream":
        return f"{metadata['stream']}/{metadata['consumer']}"
    if spec["type"] == "cpu" and spec.get("metricType") == "AverageValue":
        return "cpu"
    query = metadata.get("query", "")
    marks = {"rag_streams_open": "streams", "/v1/search": "searches", "_duration_seconds_sum": "requests"}
    return next((metric for mark, metric in marks.items() if mark in query), "")


@dataclass
class Autoscaler:
    """One workload's replicas over time; `start_seconds` from the decision until a new one works."""

    scaling: Scaling
    start_seconds: float
    wanted: int = field(init=False)
    _starting: deque[tuple[float, int]] = field(default_factory=deque)
    _advice: deque[tuple[float, int]] = field(default_factory=deque)
    _ready: int = field(init=False)
    _looked: float = -math.inf
    _synced: float = -math.inf
    _lowered: float = -math.inf
    _active: float = -math.inf

    def __post_init__(self) -> None:
        self.wanted = self._ready = self.scaling.least

    def ready(self, now: float) -> int:
        """Return how many replicas work."""
        while self._starting and self._starting[0][0] <= now:
            self._ready += self._starting.popleft()[1]
        return self._ready

    def look(self, now: float, metrics: Mapping[str, float]) -> None:
        """Let KEDA and the autoscaler look at the metrics, where it is time for it."""
        if now - self._looked >= self.scaling.polling_seconds:
            self._looked = now
            self._wake_or_sleep(now, metrics)
        if self.wanted and now - self._synced >= SYNC_SECONDS:
            self._synced = now
            self._scale(now, metrics)

    def _wake_or_sleep(self, now: float, metrics: Mapping[str, float]) -> None:
        if any(metrics.get(trigger.metric, 0.0) > 0 for trigger in self.scaling.triggers):
            self._active = now
            if not self.wanted:
                self._set(now, 1)
        elif not self.scaling.least and self.wanted and now - self._active >= self.scaling.cooldown_seconds:
            self._set(now, 0)

    def _scale(self, now: float, metrics: Mapping[str, float]) -> None:
        advice = max((self._advised(trigger, metrics) for trigger in self.scaling.triggers), default=self.wanted)
        bounded = min(max(advice, self.scaling.least, 1), self.scaling.most)
        self._advice.append((now, bounded))
        while self._advice[0][0] < now - self.scaling.stabilization_seconds:
            self._advice.popleft()
        if bounded > self.wanted:
            self._set(now, min(bounded, max(self.wanted * GROWTH_FACTOR, self.wanted + GROWTH_PODS)))
        elif max(each for _, each in self._advice) < self.wanted and self._may_lower(now):
            self._lowered = now
            self._set(now, self.wanted - 1)

    def _may_lower(self, now: float) -> bool:
        return now - self._lowered >= self.scaling.step_down_seconds

    def _advised(self, trigger: Trigger, metrics: Mapping[str, float]) -> int:
        needed = metrics.get(trigger.metric, 0.0) / trigger.threshold
        if abs(needed / self.wanted - 1) <= TOLERANCE:
            return self.wanted
        return math.ceil(needed)

    def _set(self, now: float, replicas: int) -> None:
        if replicas > self.wanted:
            self._starting.append((now + self.start_seconds, replicas - self.wanted))
        else:
            self._take_away(self.wanted - replicas)
        self.wanted = replicas

    def _take_away(self, count: int) -> None:
        """Take those first that have not started yet."""
        while count and self._starting:
            moment, starting = self._starting.pop()
            taken = min(count, starting)
            count -= taken
            if starting > taken:
                self._starting.append((moment, starting - taken))
        self._ready -= count
