"""What one process says of itself when asked on `rag.v1.health`."""

from typing import Any

from pydantic import Field

from contracts.messages import Message


class HealthRequest(Message):
    """Ask every process for its health; a check that takes longer than `check_seconds` counts as failed."""

    check_seconds: float | None = None


class HealthReply(Message):
    """One process: `details` holds one entry per check, with `status` and what it saw."""

    service: str
    instance: str
    version: str
    ready: bool
    live: bool
    details: dict[str, Any] = Field(default_factory=dict)
