"""What a caller is told of itself."""

from pydantic import Field

from contracts.messages import Message
from services.gateway.principal import Scope


class Limits(Message):
    """What one request may bring."""

    document_bytes: int
    request_bytes: int
    documents: int


class CallerView(Message):
    """The caller; `key_id` is null where nobody is known, `trace_link` where no tracing system is named."""

    tenant: str
    scopes: list[Scope]
    key_id: str | None
    version: str
    trace_link: str | None = Field(
        description="Address of a trace in a tracing system; `{trace_id}` stands for its id."
    )
    limits: Limits
