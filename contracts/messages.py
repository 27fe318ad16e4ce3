"""The base of every message: frozen, tolerant of fields it does not know."""

from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, Field


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


class Message(BaseModel):
    """A message between services; a newer producer may add fields, an older reader ignores them."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_bytes="base64", val_json_bytes="base64")


class Fact(Message):
    """Something that happened, for any number of readers."""

    schema_version: int = 1
    occurred_at: datetime = Field(default_factory=now)
    tenant: str
