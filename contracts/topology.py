"""The streams and durable consumers of the platform: declared here, applied by one provisioner, checked by everybody.

Retention and limits follow one rule per kind: work queues refuse what does not fit, so that backpressure reaches the
producer; records of the past drop their oldest.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from contracts import subjects

MIB: Final = 1024 * 1024
GIB: Final = 1024 * MIB
MINUTE: Final = 60.0
DAY: Final = 24 * 60 * MINUTE
DEAD_LETTER_DAYS: Final = 30

# The window must outlive the slowest redelivery of the message whose effect is published again, else the repeat of a
# publish after a crash is a second message.
DEDUPE_WINDOW_SECONDS: Final = 10 * MINUTE
# Measured at 30 documents a second beside a saturated model: 0 s costs 14 ms a document around it, 0.1 s 11, 0.5 s 7.
BULK_LINGER_SECONDS: Final = 0.5
# The largest maximum of the autoscalers' manifests. A replica has what it works on, and as much again fetched for it.
MOST_REPLICAS: Final = 10
AT_HAND: Final = 2


class Retention(StrEnum):
    """When a stream lets go of a message."""

    INTEREST = "interest"
    WORK_QUEUE = "workqueue"
    LIMITS = "limits"


class Storage(StrEnum):
    """Where a stream keeps its messages."""

    FILE = "file"
    MEMORY = "memory"


class Discard(StrEnum):
    """What a full stream does: refuse the new message or drop the oldest one."""

    NEW = "new"
    OLD = "old"


def for_workers(workers: int) -> int:
    """Return how many unsettled messages a consumer hands out, so that none of the most replicas stands idle.

    `workers` is how many messages a replica works on at the same time. The bound holds for all replicas together.
    """
    return MOST_REPLICAS * workers * AT_HAND


@dataclass(frozen=True, slots=True)
class Stream:
    """A JetStream stream; ages and windows in seconds, sizes in bytes.

    With `repeated_as` the broker repeats every message once it is stored, with its sequence and the one before it.
    `takes_batches`: messages may be stored together, all of them or none.
    """

    name: str
    subjects: tuple[str, ...]
    retention: Retention
    storage: Storage
    discard: Discard
    max_bytes: int
    max_msgs: int = -1
    max_age_seconds: float = 0.0
    dedupe_window_seconds: float = DEDUPE_WINDOW_SECONDS
    takes_batches: bool = False
    consumers: tuple["Consumer", ...] = field(default=())
    repeated_as: str | None = None


@dataclass(frozen=True, slots=True)
class Consumer:
    """A durable pull consumer.

    `ack_wait_seconds` covers one heartbeat lost, not the whole work: handlers report progress while they run.
    `max_deliver` bounds every kind of failure, `max_faults` the unexpected ones, which rarely heal by themselves.
    `linger_seconds` is how long a fetch in a dense flow waits for company, where throughput counts and not the moment.
    `max_ack_pending` bounds what all replicas together have at hand.
    Only where somebody waits for the answer does a deadline count: a document that was accepted has none.
    """

    name: str
    stream: str
    filter_subjects: tuple[str, ...]
    max_ack_pending: int
    ack_wait_seconds: float = 30.0
    max_deliver: int = 30
    max_faults: int = 5
    honours_deadline: bool = False
    linger_seconds: float = 0.0


PARSER: Final = Consumer("parser", "INGEST", (subjects.INGEST_ALL,), for_workers(2))
INTAKE: Final = Consumer(
    "persistence-intake", "INGEST", (subjects.INGEST_ALL,), for_workers(32), linger_seconds=BULK_LINGER_SECONDS
)
EMBEDDER: Final = Consumer(
    "embedder", "CHUNKS", (subjects.CHUNKS_READY,), for_workers(32), linger_seconds=BULK_LINGER_SECONDS
)
RETRIEVER: Final = Consumer(
    "retriever", "VECTORS", (subjects.CHUNKS_EMBEDDED,), for_workers(32), linger_seconds=BULK_LINGER_SECONDS
)
# The other facts about documents are persistence's own; reading them back would cost more than all else it does.
PERSISTENCE: Final = Consumer(
    "persistence",
    "FACTS",
    (
        subjects.DOCUMENT_PARSED,
        subjects.CHUNKS_INDEXED,
        subjects.QUERY_ANSWERED,
        subjects.QUERY_FAILED,
        subjects.FEEDBACK_GIVEN,
        subjects.AUDIT_ALL,
    ),
    for_workers(32),
    linger_seconds=BULK_LINGER_SECONDS,
)
TURNS: Final = Consumer("persistence-turns", "TURNS", (subjects.CONVERSATION_TURNS,), for_workers(32))
CLEANUP: Final = Consumer(
    "retriever-cleanup",
    "FACTS",
    (subjects.DOCUMENT_INDEXED, subjects.DOCUMENT_SUPERSEDED, subjects.DOCUMENT_DELETED),
    for_workers(32),
    linger_seconds=BULK_LINGER_SECONDS,
)
AGENT: Final = Consumer(
    "agent", "QUERIES", (subjects.QUERIES_ASK,), for_workers(64), max_deliver=3, max_faults=2, honours_deadline=True
)
DEAD_LETTERS: Final = Consumer("persistence-dead", "DEAD", (subjects.DEAD_ALL,), for_workers(4))
ADVISORIES: Final = Consumer(
    "persistence-advisories", "ADVISORIES", (subjects.MAX_DELIVERIES_ADVISORIES,), for_workers(4)
)

STREAMS: Final[tuple[Stream, ...]] = (
    Stream(
        "INGEST",
        (subjects.INGEST_ALL,),
        Retention.INTEREST,
        Storage.FILE,
        Discard.NEW,
        max_bytes=2 * GIB,
        consumers=(PARSER, INTAKE),
    ),
    Stream(
        "CHUNKS",
        (subjects.CHUNKS_READY,),
        Retention.WORK_QUEUE,
        Storage.FILE,
        Discard.NEW,
        max_bytes=512 * MIB,
        max_msgs=2_000,
        consumers=(EMBEDDER,),
    ),
    Stream(
        "VECTORS",
        (subjects.CHUNKS_EMBEDDED,),
        Retention.WORK_QUEUE,
        Storage.FILE,
        Discard.NEW,
        max_bytes=512 * MIB,
        max_msgs=2_000,
        consumers=(RETRIEVER,),
    ),
    Stream(
        "FACTS",
        (subjects.FACTS_ALL,),
        Retention.LIMITS,
        Storage.FILE,
        Discard.OLD,
        max_bytes=GIB,
        max_age_seconds=7 * DAY,
        consumers=(PERSISTENCE, CLEANUP),
    ),
    Stream(
        "QUERIES",
        (subjects.QUERIES_ASK,),
        Retention.WORK_QUEUE,
        Storage.MEMORY,
        Discard.NEW,
        max_bytes=64 * MIB,
        max_msgs=1_000,
        max_age_seconds=120.0,
        dedupe_window_seconds=120.0,
        consumers=(AGENT,),
    ),
    Stream(
        "ANSWERS",
        (subjects.ANSWERS_ALL,),
        Retention.LIMITS,
        Storage.MEMORY,
        Discard.OLD,
        max_bytes=128 * MIB,
        max_age_seconds=5 * MINUTE,
        dedupe_window_seconds=120.0,
        takes_batches=True,
        # A reader of the answers' own subject would also see what was refused because another delivery came first.
        repeated_as=subjects.TOLD_OF_ANSWERS,
    ),
    # Turns of conversations that could not be recorded at once; a work queue, so that their text goes with the work.
    Stream(
        "TURNS",
        (subjects.CONVERSATION_TURNS,),
        Retention.WORK_QUEUE,
        Storage.FILE,
        Discard.NEW,
        max_bytes=256 * MIB,
        consumers=(TURNS,),
    ),
    Stream(
        "DEAD",
        (subjects.DEAD_ALL,),
        Retention.LIMITS,
        Storage.FILE,
        Discard.OLD,
        max_bytes=GIB,
        max_age_seconds=DEAD_LETTER_DAYS * DAY,
        consumers=(DEAD_LETTERS,),
    ),
    Stream(
        "ADVISORIES",
        (subjects.MAX_DELIVERIES_ADVISORIES,),
        Retention.LIMITS,
        Storage.FILE,
        Discard.OLD,
        max_bytes=64 * MIB,
        max_age_seconds=7 * DAY,
        consumers=(ADVISORIES,),
    ),
)

CONSUMERS: Final[tuple[Consumer, ...]] = tuple(consumer for stream in STREAMS for consumer in stream.consumers)


@dataclass(frozen=True, slots=True)
class KeyValueBucket:
    """A JetStream key-value bucket that keeps the last value of each key; age in seconds, size in bytes."""

    name: str
    storage: Storage
    max_bytes: int
    max_age_seconds: float


# What an agent has done for a question, for the agent that goes on when it dies. It lives as long as the question and
# its answer, which are in memory too: a broker that lost those has nobody to go on for.
AGENT_STEPS: Final = KeyValueBucket(
    subjects.AGENT_STEPS_BUCKET, Storage.MEMORY, max_bytes=64 * MIB, max_age_seconds=5 * MINUTE
)


@dataclass(frozen=True, slots=True)
class Bucket:
    """A JetStream Object Store bucket; age in seconds, size in bytes."""

    name: str
    max_bytes: int
    max_age_seconds: float


# Payloads are removed when their document is parsed, or with their dead letter. The age only catches what a crash left
# behind; it must outlive every letter, whose replay needs the payload.
UPLOADS: Final = Bucket(subjects.UPLOADS_BUCKET, max_bytes=8 * GIB, max_age_seconds=DEAD_LETTER_DAYS * DAY + DAY)
