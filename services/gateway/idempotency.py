"""Idempotency keys: what was asked once is done once, and a key stands for one request only."""

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from contracts import subjects
from contracts.reads import IdempotencyQuery, IdempotencyRecord, IdempotencyReply
from services.gateway.problems import RequestProblem, invalid_request
from shared.errors import Unavailable
from shared.messaging.requests import Requester

HEADER: Final = "Idempotency-Key"
MAX_KEY_CHARACTERS: Final = 255
_FIRST_PAUSE_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A caller's key; each document of its request has a key of its own, made from it."""

    tenant: str
    value: str

    def of(self, index: int) -> str:
        """Return the key of the document at `index`: 64 hex digits that tell nothing of the caller's key."""
        return hashlib.sha256(f"{self.tenant}\x00{self.value}\x00{index}".encode()).hexdigest()

    def object_name(self, index: int, digest: str) -> str:
        """Name the object of a large payload so that the same request names it the same again."""
        return hashlib.sha256(f"{self.of(index)}\x00{digest}".encode()).hexdigest()[:32]


def read_key(tenant: str, headers: Mapping[str, str]) -> IdempotencyKey | None:
    """Return the request's key if it has one; RequestProblem 422 unless it is 1 to 255 printable ASCII characters."""
    value = headers.get(HEADER)
    if value is None:
        return None
    if not (1 <= len(value) <= MAX_KEY_CHARACTERS and value.isascii() and value.isprintable()):
        raise invalid_request(f"must be 1 to {MAX_KEY_CHARACTERS} printable ASCII characters", field=HEADER)
    return IdempotencyKey(tenant, value)


class SeenKeys:
    """Asks persistence which keys were used, and for what."""

    def __init__(self, requester: Requester, *, settle_seconds: float) -> None:
        self._requester = requester
        self._settle_seconds = settle_seconds

    async def find(self, tenant: str, keys: Sequence[str]) -> dict[str, IdempotencyRecord]:
        """Return what is known of the keys; Unavailable when persistence does not answer."""
        query = IdempotencyQuery(tenant=tenant, keys=list(keys))
        reply = await self._requester.ask(subjects.READ_IDEMPOTENCY, query, IdempotencyReply)
        return {record.key: record for record in reply.records}

    async def settle(self, tenant: str, key: str) -> IdempotencyRecord:
        """Return the record of a key that the broker saw moments ago; Unavailable when it is not recorded in time."""
        deadline = time.monotonic() + self._settle_seconds
        pause_seconds = _FIRST_PAUSE_SECONDS
        while True:
            found = await self.find(tenant, [key])
            if key in found:
                return found[key]
            if time.monotonic() + pause_seconds > deadline:
                raise Unavailable(
                    f"another request with this {HEADER} is in work and not recorded yet", code="idempotency_pending"
                )
            await asyncio.sleep(pause_seconds)
            pause_seconds *= 2


def check_same(record: IdempotencyRecord, digest: str) -> None:
    """Raise RequestProblem 422 when a key was used for another document than the one with this digest."""
    if record.digest != digest:
        raise RequestProblem(
            422,
            "idempotency_key_reused",
            f"this {HEADER} was used for another request; use a new key for a new request",
            field=HEADER,
        )
