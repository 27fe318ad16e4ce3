"""Dead letters: the message as it was, with the reason in its headers."""

import io
from collections.abc import Mapping
from typing import Final

from nats.js.object_store import ObjectStore

from contracts import subjects
from shared.errors import InvalidMessage
from shared.logs import get_logger
from shared.messaging.delivery import Delivery
from shared.messaging.policy import Reason
from shared.messaging.publishing import Publisher, header_bytes

log = get_logger(__name__)

MAX_HEADER_CHARACTERS: Final = 1_000
MAX_CARRIED_HEADER_BYTES: Final = 64 * 1024
# Headers and payload share the broker's limit; what would not fit beside them goes through the object store.
HEADER_RESERVE_BYTES: Final = 16 * 1024


class DeadLetters:
    """Writes dead letters on `rag.v1.dead.<consumer>`."""

    def __init__(self, publisher: Publisher, uploads: ObjectStore, *, max_payload_bytes: int) -> None:
        self._publisher = publisher
        self._uploads = uploads
        self._max_payload_bytes = max_payload_bytes

    async def bury(self, delivery: Delivery, reason: Reason) -> None:
        """Store a message that can't be processed; raises what `publish_bytes` raises when that fails."""
        carried = _carried(delivery.headers)
        headers = {**carried, **_reason_headers(delivery, reason)}
        payload = delivery.payload
        if len(payload) + header_bytes(carried) + HEADER_RESERVE_BYTES > self._max_payload_bytes:
            # Two consumers may bury the same message, and each letter's payload goes with its letter.
            name = f"{subjects.DEAD_OBJECT_PREFIX}{delivery.consumer}/{delivery.stream}/{delivery.sequence}"
            await self._uploads.put(name, io.BytesIO(payload))
            headers[subjects.HEADER_DEAD_OBJECT] = name
            payload = b""
        await self._publisher.publish_bytes(
            subjects.dead(delivery.consumer),
            payload,
            tenant=_tenant(delivery),
            message_id=f"dead:{delivery.consumer}:{delivery.stream}:{delivery.sequence}",
            headers=headers,
        )


def _carried(headers: Mapping[str, str]) -> dict[str, str]:
    """Keep the original headers; of more than fits into a letter the largest are left out."""
    kept = {subjects.header_in_letter(name): value for name, value in headers.items()}
    while header_bytes(kept) > MAX_CARRIED_HEADER_BYTES:
        largest = max(kept, key=lambda name: len(name) + len(kept[name]))
        log.warning("dead_letter_without_header", header=largest[:MAX_HEADER_CHARACTERS])
        del kept[largest]
    return kept


def _reason_headers(delivery: Delivery, reason: Reason) -> dict[str, str]:
    fields = {
        subjects.HEADER_DEAD_REASON: reason.message,
        subjects.HEADER_DEAD_CODE: reason.code,
        subjects.HEADER_DEAD_ERROR: reason.error,
        subjects.HEADER_DEAD_FIELD: reason.field,
        subjects.HEADER_DEAD_SUBJECT: delivery.subject,
        subjects.HEADER_DEAD_STREAM: delivery.stream,
        subjects.HEADER_DEAD_SEQUENCE: str(delivery.sequence),
        subjects.HEADER_DEAD_CONSUMER: delivery.consumer,
        subjects.HEADER_DEAD_DELIVERIES: str(delivery.deliveries),
    }
    return {name: _one_line(value) for name, value in fields.items() if value}


def _one_line(value: str) -> str:
    """Return a value that a header can carry: printable ASCII, bounded."""
    text = " ".join(value.split())[:MAX_HEADER_CHARACTERS]
    return text.encode("ascii", "backslashreplace").decode("ascii")


def _tenant(delivery: Delivery) -> str:
    try:
        return delivery.tenant
    except InvalidMessage:
        return "unknown"
