"""What the gateway tells of the platform's health."""

from typing import Any, Literal

from contracts.messages import Message

State = Literal["ok", "degraded"]


class Replica(Message):
    """One process as it describes itself."""

    instance: str
    version: str
    ready: bool
    live: bool
    details: dict[str, Any]


class ServiceHealth(Message):
    """The replicas of a service that answered."""

    replicas: list[Replica]
    ready: int
    live: int


class BrokerHealth(Message):
    """The broker as this gateway sees it; `answers` tells whether it brought any reply just now."""

    url: str
    server: str | None
    connected: bool
    answers: bool


class ConsumerHealth(Message):
    """A durable consumer: what the broker said of it last, and when its replicas were last served.

    Numbers are None while the broker does not tell them; `as_of_seconds` is their age.
    """

    name: str
    stream: str
    backlog: int | None
    in_flight: int | None
    redelivered: int | None
    as_of_seconds: float | None
    replicas: int
    last_fetch_age_seconds: float | None


class PlatformParts(Message):
    """What the parts behind the services are, as the replicas say; None where no replica says it."""

    llm: dict[str, Any] | None
    agent: dict[str, Any] | None
    index: dict[str, Any] | None
    database: dict[str, Any] | None
    cache: dict[str, Any] | None
    embedding: dict[str, Any] | None


class PlatformHealth(Message):
    """Every part of the platform; degraded when something is in `problems`.

    `notices` tell what only makes it slower, or takes a feature away.
    `lanes` counts the ready embedders that take documents (`bulk`) and what somebody waits for (`interactive`);
    `versions` counts processes by the release that they run.
    """

    status: State
    version: str
    problems: list[str]
    notices: list[str]
    broker: BrokerHealth
    parts: PlatformParts
    lanes: dict[str, int]
    consumers: list[ConsumerHealth]
    versions: dict[str, int]
    services: dict[str, ServiceHealth]


class HealthSummary(Message):
    """The number of ready replicas of every service, and in words what is wrong."""

    status: State
    version: str
    services: dict[str, int]
    problems: list[str]
