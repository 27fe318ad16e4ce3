"""What each user of the broker may publish and subscribe, derived from the topology and the table of traffic.

Every user reads replies under an inbox of its own name, so that nobody sees another one's. JetStream is reached by
publishing on `$JS.API…`, so that reading a stream is a permission to publish. What nats-server does not check is the
reply subject of a request: docs/broker-security.md tells what follows.
"""

from dataclasses import dataclass
from typing import Final

from contracts import subjects, topology
from contracts.topology import AGENT_STEPS, CONSUMERS, DEAD_LETTERS, STREAMS, UPLOADS, Consumer, Retention
from contracts.traffic import AGENT, CONSUMED_BY, GATEWAY, PARSER, PERSISTENCE, SERVICES, TRAFFIC

PLATFORM: Final = "platform"
PROVISIONER: Final = "provisioner"
MONITOR: Final = "monitor"
ANONYMOUS: Final = "producer"
DEFAULT_TENANT: Final = "default"
API: Final = "$JS.API"
TOOL_DISCOVERY: Final = "$SRV.INFO"
TOOL_DISCOVERY_ALL: Final = "$SRV.>"
DEFAULT_INBOX: Final = "_INBOX"
AUDIT_FACTS: Final = f"{subjects.AUDIT_PREFIX}>"
# A tool that has not answered a call by then never will.
TOOL_REPLY_SECONDS: Final = 120
_UPLOADS_STREAM: Final = f"OBJ_{UPLOADS.name}"
_STEPS_STREAM: Final = f"KV_{AGENT_STEPS.name}"


@dataclass(frozen=True, slots=True)
class Permissions:
    """What a user may publish and subscribe, as subjects of the broker with `*` and `>`; nothing else is allowed.

    `unheard` is taken out of what it subscribes to. `reply_seconds`: it may also reply to each request once, wherever
    the request says, within so many seconds.
    """

    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    unheard: tuple[str, ...] = ()
    reply_seconds: int | None = None


def inbox_prefix(user: str) -> str:
    """Return the prefix of the subjects on which a user gets its replies."""
    return f"{DEFAULT_INBOX}_{user}"


def producer_user(tenant: str) -> str:
    """Return the user who may publish documents of one tenant; ValueError when that is no tenant's name."""
    subjects.ingest(tenant)
    return f"producer-{tenant}"


def tool_user(name: str) -> str:
    """Return the user who may serve one tool; ValueError when that is no tool's name."""
    if not subjects.TOOL_NAME.match(name):
        raise ValueError(f"tool {name!r} is not of the form {subjects.TOOL_NAME.pattern}")
    return f"tool-{name}"


def fixed_users() -> dict[str, Permissions]:
    """Return the permissions of every user that each installation has, by name."""
    return {
        **{service: _service(service) for service in SERVICES},
        PROVISIONER: _provisioner(),
        MONITOR: _monitor(),
    }


def permissions_of(user: str) -> Permissions:
    """Return the permissions of a user by its name; ValueError when no user is called so."""
    if (found := fixed_users().get(user)) is not None:
        return found
    kind, _, name = user.partition("-")
    if kind == ANONYMOUS:
        return producer(name)
    if kind == "tool":
        return tool(name)
    raise ValueError(f"the broker has no user {user!r}")


def producer(tenant: str) -> Permissions:
    """Return what the producer of one tenant may: publish documents, and read whether they were stored."""
    return Permissions((subjects.ingest(tenant),), (_own_inbox(producer_user(tenant)),))


def tool(name: str) -> Permissions:
    """Return what the program that serves one tool may: be found, be called, and reply to each call once.

    It may publish nowhere by itself: knowing one inbox of the agent, it could forge replies of others.
    """
    tool_user(name)
    return Permissions((), (subjects.tool(name), TOOL_DISCOVERY_ALL), reply_seconds=TOOL_REPLY_SECONDS)


def anonymous() -> Permissions:
    """Return what a connection without credentials may, where there is authentication for nobody (loopback only)."""
    heard = (subjects.FACTS_ALL, f"{DEFAULT_INBOX}.>")
    # Who used which key is told to nobody without one.
    return Permissions((subjects.ingest(DEFAULT_TENANT),), heard, unheard=(AUDIT_FACTS,))


def pattern(template: str) -> str:
    """Return the subject with wildcards that a template stands for."""
    return ".".join("*" if token.startswith("{") else token for token in template.split("."))


def _service(name: str) -> Permissions:
    publish = [*_sent(name), *_replies(name), *_topology_is_read(), *_JETSTREAM.get(name, ())]
    for consumer, service in CONSUMED_BY.items():
        if service == name:
            publish += _consumes(consumer)
    if name == AGENT:
        publish.append(TOOL_DISCOVERY)
    heard = [pattern(item.subject) for item in TRAFFIC if name in item.hears or name in item.answers]
    return Permissions(_distinct(publish), _distinct([*heard, _own_inbox(name)]))


def _sent(name: str) -> list[str]:
    return [pattern(item.subject) for item in TRAFFIC if name in item.sends]


def _replies(name: str) -> list[str]:
    """Replies go to the inboxes of those who may ask, and not wherever a request says."""
    return [_own_inbox(asker) for item in TRAFFIC if name in item.answers for asker in item.sends]


def _consumes(consumer: Consumer) -> list[str]:
    place = f"{consumer.stream}.{consumer.name}"
    return [f"{API}.CONSUMER.MSG.NEXT.{place}", f"$JS.ACK.{place}.>", subjects.dead(consumer.name)]


def _topology_is_read() -> list[str]:
    """Every service compares the whole topology with its declaration before it becomes ready."""
    streams = [*(stream.name for stream in STREAMS), _UPLOADS_STREAM, _STEPS_STREAM]
    return [
        *(f"{API}.STREAM.INFO.{name}" for name in streams),
        *(f"{API}.CONSUMER.INFO.{consumer.stream}.{consumer.name}" for consumer in CONSUMERS),
    ]


def _objects_are_written() -> list[str]:
    """A write looks for an object of the same name, and removes the pieces of one that it replaces."""
    return [
        f"$O.{UPLOADS.name}.C.*",
        f"$O.{UPLOADS.name}.M.*",
        f"{API}.STREAM.MSG.GET.{_UPLOADS_STREAM}",
        f"{API}.STREAM.PURGE.{_UPLOADS_STREAM}",
    ]


def _objects_are_read() -> list[str]:
    """The client library reads the pieces of an object by a consumer that it makes for it."""
    return [
        f"{API}.STREAM.NAMES",
        f"{API}.CONSUMER.CREATE.{_UPLOADS_STREAM}",
        f"{API}.CONSUMER.DELETE.{_UPLOADS_STREAM}.*",
        f"$JS.FC.{_UPLOADS_STREAM}.>",
    ]


def _answers_are_read() -> list[str]:
    stream = "ANSWERS"
    return [f"{API}.DIRECT.GET.{stream}", f"{API}.DIRECT.GET.{stream}.{subjects.ANSWERS_ALL}"]


def _consumed_streams_are_read() -> list[str]:
    """What a durable has before it, and since when, is told by its oldest message."""
    return [f"{API}.DIRECT.GET.{stream.name}" for stream in STREAMS if stream.consumers]


def _letters_are_settled() -> list[str]:
    """Persistence reads what a durable gave up, and takes it out of the streams that would keep it for ever."""
    read = _consumed_streams_are_read()
    kept = [stream.name for stream in STREAMS if stream.retention is not Retention.LIMITS]
    removed = [f"{API}.STREAM.MSG.{verb}.{name}" for name in [*kept, DEAD_LETTERS.stream] for verb in ("GET", "DELETE")]
    return [*read, *removed]


def _steps_are_kept() -> list[str]:
    keys = f"$KV.{AGENT_STEPS.name}.*"
    return [keys, f"{API}.DIRECT.GET.{_STEPS_STREAM}.{keys}"]


# What else a service needs of JetStream.
_JETSTREAM: Final[dict[str, tuple[str, ...]]] = {
    GATEWAY: (*_objects_are_written(), *_answers_are_read(), *_consumed_streams_are_read()),
    PARSER: (
        *_objects_are_written(),
        *_objects_are_read(),
        # The lane past the durable reads out of the middle of the stream.
        f"{API}.DIRECT.GET.{topology.PARSER.stream}",
    ),
    AGENT: (*_answers_are_read(), *_steps_are_kept()),
    PERSISTENCE: (*_objects_are_written(), *_objects_are_read(), *_letters_are_settled()),
}


def _provisioner() -> Permissions:
    """Streams and consumers by name; what is in them is neither read nor written."""
    streams = [*(stream.name for stream in STREAMS), _UPLOADS_STREAM, _STEPS_STREAM]
    made = [f"{API}.STREAM.{verb}.{name}" for name in streams for verb in ("CREATE", "UPDATE")]
    consumers = [f"{API}.CONSUMER.CREATE.{consumer.stream}.{consumer.name}" for consumer in CONSUMERS]
    filtered = [
        f"{API}.CONSUMER.CREATE.{consumer.stream}.{consumer.name}.{consumer.filter_subjects[0]}"
        for consumer in CONSUMERS
        if len(consumer.filter_subjects) == 1
    ]
    renewed = f"{API}.STREAM.DELETE.{topology.INTAKE.stream}"
    publish = [f"{API}.INFO", *_topology_is_read(), *made, *consumers, *filtered, renewed]
    return Permissions(_distinct(publish), (_own_inbox(PROVISIONER),))


def _monitor() -> Permissions:
    """Numbers of every stream and consumer, and the broker's own remarks on them; no message."""
    about = ("INFO", "STREAM.NAMES", "STREAM.LIST", "STREAM.INFO.*")
    consumers = ("CONSUMER.NAMES.*", "CONSUMER.LIST.*", "CONSUMER.INFO.*.*")
    publish = tuple(f"{API}.{name}" for name in (*about, *consumers))
    return Permissions(publish, ("$JS.EVENT.ADVISORY.>", _own_inbox(MONITOR)))


def _own_inbox(user: str) -> str:
    return f"{inbox_prefix(user)}.>"


def _distinct(found: list[str]) -> tuple[str, ...]:
    return tuple(sorted(set(found)))
