"""Whose work the current task does, and for which request: carried in the task's context, read by spans and logs."""

from contextvars import ContextVar
from typing import Final

from opentelemetry import context as otel_context

# The id that all work for one request shares, also where traces are not followed.
CORRELATION_ID: Final[ContextVar[str | None]] = ContextVar("rag_correlation_id", default=None)
TENANT: Final = otel_context.create_key("rag.tenant")


def current_tenant() -> str | None:
    """Return whose work this is, None while nobody has said so."""
    tenant = otel_context.get_value(TENANT)
    return tenant if isinstance(tenant, str) else None
