"""Who did what, as facts: kept by persistence, read through the gateway."""

from datetime import datetime
from typing import Final, Literal

from pydantic import Field

from contracts.messages import Fact, Message

MAX_AUDIT_LISTED: Final = 200

AuditAction = Literal[
    "key_used", "auth_failed", "key_created", "key_revoked", "deleted", "replayed", "discarded", "admin_called"
]


class AuditFact(Fact):
    """One thing that somebody did; `actor` is the id of a key or of a token's subject, and no secret.

    `target` names what it was done to, `status` is the HTTP status of the answer.
    """

    audit_id: str = Field(min_length=1, max_length=64)
    actor: str | None = None
    method: str | None = None
    route: str | None = None
    target: dict[str, str] = Field(default_factory=dict)
    status: int | None = None
    reason: str | None = None
    address: str | None = None
    trace_id: str | None = None


class KeyUsed(AuditFact):
    """A key or token was used; the first use of a minute stands for all of it."""


class AuthFailed(AuditFact):
    """A request was refused because nobody knew who sent it; of many alike only the first ones are told."""


class KeyCreated(AuditFact):
    """A key was made."""


class KeyRevoked(AuditFact):
    """A key was revoked."""


class Deleted(AuditFact):
    """Somebody asked for a document, a collection or a conversation to be deleted."""


class LettersReplayed(AuditFact):
    """Somebody had dead letters sent again."""


class LetterDiscarded(AuditFact):
    """Somebody discarded a dead letter."""


class AdminCalled(AuditFact):
    """Somebody called another route that needs the scope `admin`; looking at the same again counts once a minute."""


class AuditQuery(Message):
    """A page of what happened in a tenant, newest first."""

    tenant: str
    action: AuditAction | None = None
    actor: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int = Field(default=50, ge=1, le=MAX_AUDIT_LISTED)
    cursor: str | None = None


class AuditEntry(Message):
    """One entry as it is listed."""

    id: str
    at: datetime
    action: str
    actor: str | None = None
    method: str | None = None
    route: str | None = None
    target: dict[str, str]
    status: int | None = None
    reason: str | None = None
    address: str | None = None
    trace_id: str | None = None


class AuditPage(Message):
    """One page of entries."""

    items: list[AuditEntry]
    next_cursor: str | None = None
