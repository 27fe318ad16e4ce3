"""Spans of calls that leave for a database, a cache, an index or an HTTP endpoint.

What was asked is not in them: neither statements and their values, nor keys, nor paths and queries of addresses. They
are made inside a span that is recorded and nowhere else, so that a probe costs nothing and no trace begins with one.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from opentelemetry.trace import INVALID_SPAN, Link, Span, SpanKind, Tracer

from shared import semantics
from shared.telemetry import is_recorded, span


@contextmanager
def client_span(
    tracer: Tracer | None, name: str, attributes: Mapping[str, Any], links: Sequence[Link] = ()
) -> Iterator[Span]:
    """Run a block inside the span of a call; without one where nothing is recorded."""
    if tracer is None or not is_recorded():
        yield INVALID_SPAN
        return
    with span(tracer, name, SpanKind.CLIENT, attributes=attributes) as current:
        for link in links:
            current.add_link(link.context)
        yield current


def database_span(
    tracer: Tracer | None, system: str, operation: str, name: str | None = None, links: Sequence[Link] = ()
) -> AbstractContextManager[Span]:
    """Return the span of a call of a database, called after its operation unless a name is given."""
    attributes = {semantics.DB_SYSTEM: system, semantics.DB_OPERATION: operation}
    return client_span(tracer, name or operation, attributes, links)
