"""Checkpoints in a JetStream key-value bucket: one key for each question, written by revision.

A write that was refused because of its revision may be our own, whose acknowledgement got lost: the record says whose
it is.
"""

import secrets
import zlib

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from contracts import subjects
from contracts.codec import DecodeError, decode, encode
from contracts.messages import Message
from services.agent.agent_mode.loop import Loop
from services.agent.metrics import AgentMetrics
from shared.errors import TakenOver
from shared.logs import get_logger

log = get_logger(__name__)

# A record is text that repeats itself; level 1 makes a third of it in less than a millisecond.
_LEVEL = 1
# The headers of a write need some of what a message may hold.
_RESERVED_BYTES = 4_096


class _Record(Message):
    owner: str
    tenant: str
    loop: Loop | None = None


class NatsCheckpoints:
    """Opens records in the bucket."""

    def __init__(self, client: Client, metrics: AgentMetrics) -> None:
        self._client, self._metrics = client, metrics
        self._bucket: KeyValue | None = None

    async def open(self, query_id: str, tenant: str) -> "NatsCheckpoint":
        """Return the record of a question, claimed; one that cannot be had keeps nothing."""
        try:
            self._bucket = self._bucket or await self._client.jetstream().key_value(subjects.AGENT_STEPS_BUCKET)
        except (NatsError, TimeoutError) as error:
            log.warning("checkpoints_not_available", reason=type(error).__name__)
        max_bytes = self._client.max_payload - _RESERVED_BYTES
        checkpoint = NatsCheckpoint(self._bucket, query_id, tenant, max_bytes, self._metrics)
        await checkpoint.claim()
        return checkpoint

    async def drop(self, query_id: str) -> None:
        """Forget a question; what is left when that fails goes with its age."""
        if self._bucket is None:
            return
        try:
            await self._bucket.purge(query_id)
        except (NatsError, TimeoutError) as error:
            log.info("checkpoint_left", reason=type(error).__name__)


class NatsCheckpoint:
    """One record; see `Checkpoint`."""

    def __init__(
        self, bucket: KeyValue | None, query_id: str, tenant: str, max_bytes: int, metrics: AgentMetrics
    ) -> None:
        self._bucket, self._key, self._max_bytes, self._metrics = bucket, query_id, max_bytes, metrics
        self._tenant, self._owner = tenant, secrets.token_hex(8)
        self._revision = 0
        self.loop: Loop | None = None

    async def claim(self) -> None:
        """Take over what is there, so that its last writer can write no more."""
        if self._bucket is None:
            return
        try:
            found = await self._read()
            if found is not None and found.tenant == self._tenant:
                self.loop = found.loop
        except (NatsError, TimeoutError) as error:
            self._lost(error)
            # Written blindly, the next one would be refused and taken for a sign of another agent.
            self._bucket = None
            return
        await self._write(self.loop)

    async def save(self, loop: Loop) -> None:
        """Keep the loop; TakenOver when another agent has opened the record since."""
        if self._bucket is not None:
            await self._write(loop)

    async def _write(self, loop: Loop | None) -> None:
        record = _Record(owner=self._owner, tenant=self._tenant, loop=loop)
        payload = zlib.compress(encode(record), _LEVEL)
        if len(payload) > self._max_bytes:
            self._lost(ValueError(f"{len(payload)} bytes"))
            return
        try:
            await self._put(payload)
        except KeyWrongLastSequenceError:
            raise TakenOver(f"another agent works on question {self._key}") from None
        except (NatsError, TimeoutError) as error:
            self._lost(error)

    async def _put(self, payload: bytes) -> None:
        assert self._bucket is not None
        try:
            self._revision = await self._bucket.update(self._key, payload, last=self._revision)
        except KeyWrongLastSequenceError:
            found = await self._read()
            if found is None or found.owner != self._owner:
                raise
            self._revision = await self._bucket.update(self._key, payload, last=self._revision)

    async def _read(self) -> _Record | None:
        """Return what is stored and remember its revision."""
        assert self._bucket is not None
        try:
            entry = await self._bucket.get(self._key)
        except KeyNotFoundError as error:
            # What was purged leaves a mark, behind which the next value is written.
            self._revision = (error.entry.revision or 0) if error.entry is not None else 0
            return None
        self._revision = entry.revision or 0
        try:
            return decode(_Record, zlib.decompress(entry.value or b""))
        except (DecodeError, zlib.error):
            log.warning(
                "checkpoint_not_readable", hint="an agent of another release wrote it; the question begins anew"
            )
            return None

    def _lost(self, error: Exception) -> None:
        self._metrics.lost_checkpoints.add(1)
        log.warning("checkpoint_lost", reason=error)
