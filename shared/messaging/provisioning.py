"""Applies the declared topology to a server, and tells where a server differs from it.

The sequence of INGEST is the revision of documents, which must never begin again: database and index would take every
later write for an old one. So a new INGEST begins at the microseconds since 1970. Whatever INGEST was there before
began at its own time and has numbered fewer than a million messages a second since, and so ended below.
"""

import time
from typing import Final

from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    KeyValueConfig,
    ObjectStoreConfig,
    RePublish,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import NotFoundError

from contracts.topology import AGENT_STEPS, INTAKE, STREAMS, UPLOADS, Bucket, Consumer, KeyValueBucket, Stream
from shared.logs import get_logger
from shared.messaging.policy import RESERVED_DELIVERIES

log = get_logger(__name__)

_CHECKED_STREAM_FIELDS: Final = (
    "subjects",
    "retention",
    "storage",
    "discard",
    "max_bytes",
    "max_msgs",
    "max_age",
    "duplicate_window",
    "num_replicas",
    "republish",
    "allow_atomic",
)
_INGEST: Final = next(stream for stream in STREAMS if stream.name == INTAKE.stream)
_CHECKED_CONSUMER_FIELDS: Final = ("ack_wait", "max_deliver", "max_ack_pending", "ack_policy", "filters")


async def provision(jetstream: JetStreamContext, *, replicas: int, first_revision: int | None = None) -> list[str]:
    """Create or update every stream, consumer and bucket; return what was changed, one line each.

    Consumers come right after their stream, before anybody can publish: interest retention drops messages that no
    consumer waits for. Nothing is ever deleted. `first_revision` is where an INGEST that has to be created begins;
    none = above every revision there ever was.
    """
    first = next_first_revision() if first_revision is None else first_revision
    changes: list[str] = []
    for stream in STREAMS:
        changes += await _apply_stream(jetstream, stream, replicas, first if stream is _INGEST else None)
        for consumer in stream.consumers:
            changes += await _apply_consumer(jetstream, consumer)
    changes += await _apply_bucket(jetstream, UPLOADS, replicas)
    return changes + await _apply_key_values(jetstream, AGENT_STEPS, replicas)


async def renew_ingest(jetstream: JetStreamContext, *, replicas: int) -> list[str]:
    """Put a new INGEST in the place of the one that is there, with revisions above all before; return what was changed.

    What the old one holds is gone.
    """
    first = next_first_revision()
    changes: list[str] = []
    try:
        state = (await jetstream.stream_info(_INGEST.name)).state
    except NotFoundError:
        pass
    else:
        first = max(first, state.last_seq + 1)
        await jetstream.delete_stream(_INGEST.name)
        changes.append(f"stream {_INGEST.name}: removed, with {state.messages} messages")
    return changes + await provision(jetstream, replicas=replicas, first_revision=first)


async def messages_in_ingest(jetstream: JetStreamContext) -> int:
    """Return how many messages INGEST holds, 0 when there is none."""
    try:
        return (await jetstream.stream_info(_INGEST.name)).state.messages
    except NotFoundError:
        return 0


def next_first_revision() -> int:
    """Return a revision above every one that was given before now; below 2^53, so that every JSON reader keeps it."""
    return time.time_ns() // 1_000


async def drift(jetstream: JetStreamContext, *, replicas: int) -> list[str]:
    """Return where the server differs from the declaration, one line each; empty when it is as declared."""
    found: list[str] = []
    for stream in STREAMS:
        found += await _stream_drift(jetstream, stream, replicas)
    found += await _bucket_drift(jetstream, UPLOADS)
    return found + await _key_values_drift(jetstream, AGENT_STEPS, replicas)


def stream_config(stream: Stream, replicas: int) -> StreamConfig:
    """Return a stream's declaration in the client library's terms."""
    return StreamConfig(
        name=stream.name,
        subjects=list(stream.subjects),
        retention=RetentionPolicy(stream.retention.value),
        storage=StorageType(stream.storage.value),
        discard=DiscardPolicy(stream.discard.value),
        max_bytes=stream.max_bytes,
        max_msgs=stream.max_msgs,
        max_age=stream.max_age_seconds,
        duplicate_window=stream.dedupe_window_seconds,
        num_replicas=replicas,
        allow_direct=True,
        republish=RePublish(src=stream.subjects[0], dest=stream.repeated_as) if stream.repeated_as else None,
        # Servers leave it out where it is not allowed.
        allow_atomic=stream.takes_batches or None,
    )


def consumer_config(consumer: Consumer) -> ConsumerConfig:
    """Return a consumer's declaration in the client library's terms."""
    one = len(consumer.filter_subjects) == 1
    return ConsumerConfig(
        durable_name=consumer.name,
        name=consumer.name,
        deliver_policy=DeliverPolicy.ALL,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=consumer.ack_wait_seconds,
        max_deliver=consumer.max_deliver + RESERVED_DELIVERIES,
        max_ack_pending=consumer.max_ack_pending,
        filter_subject=consumer.filter_subjects[0] if one else None,
        filter_subjects=None if one else list(consumer.filter_subjects),
    )


async def _apply_stream(
    jetstream: JetStreamContext, stream: Stream, replicas: int, first_sequence: int | None
) -> list[str]:
    differences = await _own_stream_drift(jetstream, stream, replicas)
    if not differences:
        return []
    wanted = stream_config(stream, replicas)
    if differences == [_missing_stream(stream)]:
        wanted.first_seq = first_sequence
        await jetstream.add_stream(config=wanted)
        begins = f", its sequence begins at {first_sequence}" if first_sequence else ""
        return [f"stream {stream.name}: created{begins}"]
    # An update that does not repeat it makes the server forget it, and with it which revisions came before.
    wanted.first_seq = (await jetstream.stream_info(stream.name)).config.first_seq
    await jetstream.update_stream(config=wanted)
    return [f"updated: {line}" for line in differences]


async def _apply_consumer(jetstream: JetStreamContext, consumer: Consumer) -> list[str]:
    differences = await _consumer_drift(jetstream, consumer)
    if differences:
        await jetstream.add_consumer(consumer.stream, config=consumer_config(consumer))
    missing = differences == [_missing_consumer(consumer)]
    return [f"consumer {consumer.name}: created"] if missing else [f"updated: {line}" for line in differences]


async def _apply_bucket(jetstream: JetStreamContext, bucket: Bucket, replicas: int) -> list[str]:
    differences = await _bucket_drift(jetstream, bucket)
    if differences and differences != [_missing_bucket(bucket)]:
        await _update_bucket(jetstream, bucket)
        return [f"updated: {line}" for line in differences]
    if not differences:
        return []
    await jetstream.create_object_store(
        bucket.name,
        config=ObjectStoreConfig(
            bucket=bucket.name,
            ttl=bucket.max_age_seconds,
            max_bytes=bucket.max_bytes,
            storage=StorageType.FILE,
            replicas=replicas,
        ),
    )
    return [f"object store {bucket.name}: created"]


async def _update_bucket(jetstream: JetStreamContext, bucket: Bucket) -> None:
    """The client library can make a bucket but not change one; behind it is a stream like any other."""
    config = (await jetstream.stream_info(_stream_behind(bucket))).config
    config.max_age, config.max_bytes = bucket.max_age_seconds, bucket.max_bytes
    await jetstream.update_stream(config=config)


async def _bucket_drift(jetstream: JetStreamContext, bucket: Bucket) -> list[str]:
    try:
        actual = (await jetstream.stream_info(_stream_behind(bucket))).config
    except NotFoundError:
        return [_missing_bucket(bucket)]
    limits = (("max_age", bucket.max_age_seconds), ("max_bytes", bucket.max_bytes))
    return [
        f"object store {bucket.name}: {name} is {getattr(actual, name)!s}, declared {wanted!s}"
        for name, wanted in limits
        if getattr(actual, name) != wanted
    ]


def _stream_behind(bucket: Bucket) -> str:
    return f"OBJ_{bucket.name}"


def _missing_bucket(bucket: Bucket) -> str:
    return f"object store {bucket.name}: missing"


async def _apply_key_values(jetstream: JetStreamContext, bucket: KeyValueBucket, replicas: int) -> list[str]:
    differences = await _key_values_drift(jetstream, bucket, replicas)
    if differences == [_missing_key_values(bucket)]:
        await jetstream.create_key_value(
            KeyValueConfig(
                bucket=bucket.name,
                ttl=bucket.max_age_seconds,
                max_bytes=bucket.max_bytes,
                storage=StorageType(bucket.storage.value),
                replicas=replicas,
                direct=True,
            )
        )
        return [f"key-value bucket {bucket.name}: created"]
    if differences:
        config = (await jetstream.stream_info(_stream_behind_key_values(bucket))).config
        config.max_age, config.max_bytes, config.num_replicas = bucket.max_age_seconds, bucket.max_bytes, replicas
        # The server takes no change of the storage: that line is left to the operator.
        await jetstream.update_stream(config=config)
    return [f"updated: {line}" for line in differences]


async def _key_values_drift(jetstream: JetStreamContext, bucket: KeyValueBucket, replicas: int) -> list[str]:
    try:
        actual = (await jetstream.stream_info(_stream_behind_key_values(bucket))).config
    except NotFoundError:
        return [_missing_key_values(bucket)]
    wanted = {
        "storage": StorageType(bucket.storage.value),
        "max_age": bucket.max_age_seconds,
        "max_bytes": bucket.max_bytes,
        "num_replicas": replicas,
    }
    return [
        f"key-value bucket {bucket.name}: {name} is {getattr(actual, name)!s}, declared {value!s}"
        for name, value in wanted.items()
        if getattr(actual, name) != value
    ]


def _stream_behind_key_values(bucket: KeyValueBucket) -> str:
    return f"KV_{bucket.name}"


def _missing_key_values(bucket: KeyValueBucket) -> str:
    return f"key-value bucket {bucket.name}: missing"


async def _stream_drift(jetstream: JetStreamContext, stream: Stream, replicas: int) -> list[str]:
    found = await _own_stream_drift(jetstream, stream, replicas)
    if found == [_missing_stream(stream)]:
        return found
    for consumer in stream.consumers:
        found += await _consumer_drift(jetstream, consumer)
    return found


async def _own_stream_drift(jetstream: JetStreamContext, stream: Stream, replicas: int) -> list[str]:
    try:
        actual = (await jetstream.stream_info(stream.name)).config
    except NotFoundError:
        return [_missing_stream(stream)]
    wanted = stream_config(stream, replicas)
    return [
        f"stream {stream.name}: {name} is {_stream_field(actual, name)!s}, declared {_stream_field(wanted, name)!s}"
        for name in _CHECKED_STREAM_FIELDS
        if _stream_field(actual, name) != _stream_field(wanted, name)
    ]


async def _consumer_drift(jetstream: JetStreamContext, consumer: Consumer) -> list[str]:
    try:
        actual = (await jetstream.consumer_info(consumer.stream, consumer.name)).config
    except NotFoundError:
        return [_missing_consumer(consumer)]
    wanted = consumer_config(consumer)
    return [
        f"consumer {consumer.name}: {name} is {_field(actual, name)}, declared {_field(wanted, name)}"
        for name in _CHECKED_CONSUMER_FIELDS
        if _field(actual, name) != _field(wanted, name)
    ]


def _stream_field(config: StreamConfig, name: str) -> object:
    if name == "republish":
        return config.republish and f"{config.republish.src} as {config.republish.dest}"
    return getattr(config, name)


def _field(config: ConsumerConfig, name: str) -> object:
    if name == "filters":
        return sorted(config.filter_subjects or [config.filter_subject or ""])
    return getattr(config, name)


def _missing_stream(stream: Stream) -> str:
    return f"stream {stream.name}: missing"


def _missing_consumer(consumer: Consumer) -> str:
    return f"consumer {consumer.name}: missing"
