"""A span for every SQL statement that reads or writes rows; what frames the others is most of them and no work."""

import re
from functools import lru_cache
from typing import Any, Final

from opentelemetry.trace import Span, SpanKind, Tracer
from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext

from shared import semantics
from shared.telemetry import is_recorded, mark_failed
from shared.telemetry_context import current_tenant

_SPANNED: Final = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "WITH"})
_TABLE: Final = re.compile(r"\b(?:FROM|INTO|UPDATE)\s+\"?(\w+)", re.IGNORECASE)


def trace_statements(engine: Engine, tracer: Tracer) -> None:
    """Make spans of an engine's statements from now on, where the span around them is recorded."""
    system = engine.dialect.name

    def begin(_connection: Any, _cursor: Any, text: str, _parameters: Any, context: Any, _many: bool) -> None:
        context.rag_span = None
        operation, table = described(text)
        if operation in _SPANNED and is_recorded():
            context.rag_span = _started(tracer, system, operation, table)

    def end(_connection: Any, _cursor: Any, _text: str, _parameters: Any, context: Any, _many: bool) -> None:
        if context.rag_span is not None:
            context.rag_span.end()

    def fail(failure: ExceptionContext) -> None:
        span = getattr(failure.execution_context, "rag_span", None)
        if span is not None and isinstance(failure.original_exception, Exception):
            mark_failed(span, failure.original_exception)
            span.end()

    event.listen(engine, "before_cursor_execute", begin)
    event.listen(engine, "after_cursor_execute", end)
    event.listen(engine, "handle_error", fail)


@lru_cache(maxsize=512)
def described(statement: str) -> tuple[str, str]:
    """Return the first word of a statement and the first table in it, which may be none."""
    words = statement.split(maxsplit=1)
    table = _TABLE.search(statement)
    return words[0].upper() if words else "", table.group(1) if table else ""


def _started(tracer: Tracer, system: str, operation: str, table: str) -> Span:
    attributes = {semantics.DB_SYSTEM: system, semantics.DB_OPERATION: operation}
    if table:
        attributes[semantics.DB_COLLECTION] = table
    if tenant := current_tenant():
        attributes[semantics.TENANT] = tenant
    name = semantics.statement(operation, table) if table else operation
    return tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)
