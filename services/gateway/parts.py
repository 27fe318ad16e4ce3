"""What the replies of all processes add up to."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from contracts.health import HealthReply
from contracts.topology import CONSUMERS
from services.gateway.health_schemas import BrokerHealth, ConsumerHealth, PlatformParts, Replica, ServiceHealth

EXPECTED_SERVICES: Final = ("gateway", "parser", "embedder", "retriever", "agent", "persistence")
LANES: Final = ("bulk", "interactive")
EXPECTED_PARTS: Final = frozenset((*EXPECTED_SERVICES, *LANES))
_BOTH: Final = "both"
_AWAY: Final = "away"
# How each part is found: the service whose replicas tell of it, and the check that does.
_PARTS: Final = {
    "llm": ("agent", "llm"),
    "agent": ("agent", "answerer"),
    "index": ("retriever", "index"),
    "database": ("persistence", "database"),
    "cache": ("retriever", "cache"),
    "embedding": ("embedder", "model"),
}


@dataclass(frozen=True, slots=True)
class ConsumerSample:
    """What the broker said of a durable consumer at a moment (monotonic)."""

    backlog: int
    in_flight: int
    redelivered: int
    at: float


def parts_of(reply: HealthReply) -> set[str]:
    """Return which of the expected parts a reply tells of."""
    return {reply.service, *(lanes_of(reply) if reply.service == "embedder" else ())}


def lanes_of(reply: HealthReply | Replica) -> tuple[str, ...]:
    """Return the lanes of an embedder; one of an earlier release does not say, and has both."""
    told = (reply.details.get("model") or {}).get("lanes", _BOTH)
    return LANES if told == _BOTH else (told,)


def by_service(replies: Iterable[HealthReply]) -> dict[str, ServiceHealth]:
    """Return the replicas of every service; an expected service that is silent has none."""
    found: defaultdict[str, list[Replica]] = defaultdict(list)
    for reply in sorted(replies, key=lambda reply: reply.instance):
        found[reply.service].append(Replica.model_validate(reply.model_dump(exclude={"service"})))
    names = [*EXPECTED_SERVICES, *sorted(found.keys() - set(EXPECTED_SERVICES))]
    return {
        name: ServiceHealth(
            replicas=(replicas := found.get(name, [])),
            ready=sum(replica.ready for replica in replicas),
            live=sum(replica.live for replica in replicas),
        )
        for name in names
    }


def ready_lanes(services: Mapping[str, ServiceHealth]) -> dict[str, int]:
    """Return how many ready embedders work in each lane."""
    found = Counter(lane for one in services["embedder"].replicas if one.ready for lane in lanes_of(one))
    return {lane: found[lane] for lane in LANES}


def versions_of(services: Mapping[str, ServiceHealth]) -> dict[str, int]:
    """Return how many processes run each release."""
    return dict(sorted(Counter(one.version for found in services.values() for one in found.replicas).items()))


def platform_parts(services: Mapping[str, ServiceHealth]) -> PlatformParts:
    """Return what each part is: of several replicas what the worst off says."""
    return PlatformParts.model_validate({part: _told(services, *where) for part, where in _PARTS.items()})


def consumer_health(
    services: Mapping[str, ServiceHealth], samples: Mapping[str, ConsumerSample]
) -> list[ConsumerHealth]:
    """Return every declared consumer, in the order of the pipeline."""
    ages = _fetch_ages(services)
    return [_consumer(name, stream, ages[name], samples.get(name)) for name, stream in _declared()]


def problems_of(broker: BrokerHealth, services: Mapping[str, ServiceHealth]) -> list[str]:
    """Return in words what is wrong, what explains the rest first; nothing when all is well."""
    if not broker.connected:
        return [f"the gateway has no connection to the broker at {broker.url}"]
    if not broker.answers:
        return [f"the broker at {broker.url} does not answer: nothing is known of the other parts"]
    found: list[str] = []
    for name, service in services.items():
        found += _problems_of_service(name, service)
    if services["embedder"].ready:
        idle = [lane for lane, ready in ready_lanes(services).items() if not ready]
        found += [f"no embedder of the {lane} lane is ready" for lane in idle]
    return found


def notices_of(services: Mapping[str, ServiceHealth]) -> list[str]:
    """Return in words what makes the platform slower, or takes a feature away, while everything does its work."""
    found = []
    caches = [_told(services, name, "cache") or {} for name in ("retriever", "agent")]
    if away := [cache for cache in caches if cache.get("state") == _AWAY]:
        reason = next((f" ({cache['reason']})" for cache in away if cache.get("reason")), "")
        found.append(f"the cache is away: searches and answers are slower{reason}")
    llm = _told(services, "agent", "llm") or {}
    if llm.get("state") == _AWAY:
        found.append(f"the language model at {llm.get('host')} fails: questions that need it are refused for now")
    if len(versions_of(services)) > 1:
        found.append("processes of several releases run: an upgrade goes on, or was left half done")
    return found


def _problems_of_service(name: str, service: ServiceHealth) -> list[str]:
    if not service.replicas:
        return [f"no {name} answers"]
    found = [] if service.ready else [f"no {name} is ready"]
    stuck = [one.instance for one in service.replicas if not one.live]
    if stuck:
        found.append(f"{name} does not do its work any more: {', '.join(stuck)}")
    return found


def _told(services: Mapping[str, ServiceHealth], service: str, check: str) -> dict[str, Any] | None:
    told = [found for one in services[service].replicas if isinstance(found := one.details.get(check), dict)]
    return min(told, key=lambda found: found.get("status") == "ok" and found.get("state") != _AWAY, default=None)


def _declared() -> list[tuple[str, str]]:
    return [(consumer.name, consumer.stream) for consumer in CONSUMERS]


def _fetch_ages(services: Mapping[str, ServiceHealth]) -> defaultdict[str, list[float]]:
    ages: defaultdict[str, list[float]] = defaultdict(list)
    for service in services.values():
        for one in service.replicas:
            for name, told in (one.details.get("consumers") or {}).items():
                ages[name].append(float(told["last_fetch_age_seconds"]))
    return ages


def _consumer(name: str, stream: str, ages: Sequence[float], sample: ConsumerSample | None) -> ConsumerHealth:
    return ConsumerHealth(
        name=name,
        stream=stream,
        backlog=sample.backlog if sample else None,
        in_flight=sample.in_flight if sample else None,
        redelivered=sample.redelivered if sample else None,
        as_of_seconds=round(time.monotonic() - sample.at, 1) if sample else None,
        replicas=len(ages),
        last_fetch_age_seconds=min(ages, default=None),
    )
