"""API keys: made, listed, revoked, and told to the gateways, which check them. No message holds a key itself."""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from contracts.messages import Message
from contracts.subjects import TENANT_PATTERN

KeyScope = Literal["ingest", "query", "admin"]
KEY_SCOPES: Final[tuple[KeyScope, ...]] = ("ingest", "query", "admin")
MAX_KEYS_LISTED: Final = 500
MAX_KEYS_TOLD: Final = 500
MAX_NAME_CHARACTERS: Final = 200

KeyId = Annotated[str, StringConstraints(pattern="^[a-z0-9]{8,32}$")]
TenantName = Annotated[str, StringConstraints(pattern=TENANT_PATTERN.pattern)]
KeyScopes = Annotated[list[KeyScope], Field(min_length=1, max_length=len(KEY_SCOPES))]
KeyName = Annotated[str, StringConstraints(max_length=MAX_NAME_CHARACTERS)]


class KeyView(Message):
    """A key as it is listed: `prefix` is how the key begins, which is no secret."""

    id: str
    prefix: str
    tenant: str
    name: str | None = None
    scopes: list[KeyScope]
    created_at: datetime
    created_by: str | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class KeyCheck(Message):
    """What a gateway needs to check a key; `digest` is its keyed hash in hexadecimal, `version` orders changes."""

    id: str
    tenant: str
    scopes: list[KeyScope]
    digest: str
    version: int = Field(ge=1)
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class KeyCreate(Message):
    """Have a key kept; whoever asks has made it and shows it once. `actor` is who had it made."""

    id: KeyId
    prefix: str
    tenant: TenantName
    scopes: KeyScopes
    digest: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
    name: KeyName | None = None
    expires_at: datetime | None = None
    actor: str | None = None
    actor_tenant: str | None = None


class KeyListQuery(Message):
    """A page of keys, newest first; without a tenant those of all tenants."""

    tenant: str | None = None
    limit: int = Field(default=50, ge=1, le=MAX_KEYS_LISTED)
    cursor: str | None = None


class KeyPage(Message):
    """One page of keys."""

    items: list[KeyView]
    next_cursor: str | None = None


class KeyRevoke(Message):
    """Have a key refused from now on; with a tenant only if it is a key of that tenant."""

    id: str
    tenant: str | None = None
    actor: str | None = None
    actor_tenant: str | None = None


class KeyChangesQuery(Message):
    """What changed behind a version; 0 asks for everything."""

    after: int = Field(default=0, ge=0)


class KeyChanges(Message):
    """Changed keys in the order of their versions; with `more` there are others behind the last one.

    `version` is that of the last change there is. One below what a gateway knows is of a database that was restored.
    """

    keys: list[KeyCheck]
    more: bool = False
    version: int | None = None
