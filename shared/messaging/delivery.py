"""What a handler may know of the message it is given besides the message itself."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from nats.aio.msg import Msg

from contracts import subjects
from shared.errors import InvalidMessage

AfterAck = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Delivery:
    """One delivery of one message; `sequence` is its place in the stream, `deliveries` counts from 1."""

    subject: str
    headers: Mapping[str, str]
    stream: str
    consumer: str
    sequence: int
    deliveries: int
    published_at: float
    payload: bytes
    after_ack: list[AfterAck] = field(default_factory=list)

    @classmethod
    def of(cls, message: Msg) -> "Delivery":
        """Read a JetStream message's metadata from its reply subject."""
        metadata = message.metadata
        return cls(
            subject=message.subject,
            headers=message.headers or {},
            stream=metadata.stream,
            consumer=metadata.consumer,
            sequence=metadata.sequence.stream,
            deliveries=metadata.num_delivered or 1,
            published_at=metadata.timestamp.timestamp(),
            payload=message.data,
        )

    @property
    def tenant(self) -> str:
        """Return the tenant: the subject's for ingestion, else the header's; InvalidMessage without one."""
        if self.stream == "INGEST":
            try:
                return subjects.tenant_of(self.subject)
            except ValueError as error:
                raise InvalidMessage(str(error), field="subject") from None
        tenant = self.headers.get(subjects.HEADER_TENANT, "")
        if not subjects.TENANT_PATTERN.match(tenant):
            raise InvalidMessage(f"header {subjects.HEADER_TENANT} holds no valid tenant", field="tenant")
        return tenant

    @property
    def correlation_id(self) -> str:
        """Return the id that all work for one request shares; the stream and sequence when the producer gave none."""
        return self.headers.get(subjects.HEADER_CORRELATION_ID) or f"{self.stream}-{self.sequence}"

    @property
    def forwarded_headers(self) -> dict[str, str]:
        """Return the headers that every message made from this one carries on."""
        return {subjects.HEADER_CORRELATION_ID: self.correlation_id}

    @property
    def age_seconds(self) -> float:
        """Return how long ago the message was stored."""
        return max(0.0, time.time() - self.published_at)

    @property
    def deadline(self) -> float | None:
        """Return the moment (unix seconds) after which nobody waits for the result, if there is one."""
        return read_deadline(self.headers)


def read_deadline(headers: Mapping[str, str]) -> float | None:
    """Return the deadline header as unix seconds; a header that is no number counts as none."""
    value = headers.get(subjects.HEADER_DEADLINE, "")
    return int(value) / 1000 if value.isascii() and value.isdigit() and len(value) < 16 else None
