"""API keys and the audit as the HTTP API shows them."""

from datetime import datetime
from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints

from contracts.audit import AuditEntry
from contracts.keys import KeyName, KeyScope, KeyScopes, KeyView, TenantName
from contracts.messages import Message
from shared.api_keys import DEFAULT_EXPIRES, EXPIRES_PATTERN


class KeyBody(Message):
    """A key to be made; without a tenant it is one of the caller's own."""

    model_config = ConfigDict(extra="forbid")

    tenant: TenantName | None = None
    scopes: KeyScopes
    expires: Annotated[str, StringConstraints(pattern=EXPIRES_PATTERN)] = Field(
        default=DEFAULT_EXPIRES, description="How long it opens: 90d, 12h, 30m, 60s, or never."
    )
    name: KeyName | None = Field(default=None, description="What it is for, for people.")


class NewKeyShown(Message):
    """A key that was just made: `key` is shown here and never again."""

    key: str
    id: str
    prefix: str
    tenant: str
    name: str | None
    scopes: list[KeyScope]
    created_at: datetime
    expires_at: datetime | None


class Keys(Message):
    """A page of keys, newest first."""

    items: list[KeyView]
    next_cursor: str | None


class KeyRevokedReceipt(Message):
    """The key is refused by every gateway within a second."""

    id: str
    revoked_at: datetime


class Audit(Message):
    """A page of what happened, newest first."""

    items: list[AuditEntry]
    next_cursor: str | None
