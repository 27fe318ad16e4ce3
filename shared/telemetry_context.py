"""Whose work the current task does: carried in the task's context, read by spans and logs."""

from typing import Final

from opentelemetry import context as otel_context

from shared import semantics

TENANT: Final = otel_context.create_key(semantics.TENANT)


def current_tenant() -> str | None:
    """Return whose work this is, None while nobody has said so."""
    tenant = otel_context.get_value(TENANT)
    return tenant if isinstance(tenant, str) else None
