"""The base of every message: frozen, tolerant of fields it does not know."""

from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

# What streams number their messages with, and what every database and index can hold.
MAX_SEQUENCE: Final = 2**63 - 1
MAX_COUNT: Final = 2**31 - 1
Sequence = Annotated[int, Field(ge=0, le=MAX_SEQUENCE)]
Revision = Annotated[int, Field(ge=1, le=MAX_SEQUENCE)]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]


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
