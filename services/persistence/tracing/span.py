"""What is kept of a span, and what the spans of a trace come to; no I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Self

TraceKey = tuple[str, str]

_SEPARATOR: Final = ","


@dataclass(frozen=True, slots=True)
class KeptSpan:
    """A span of a tenant; times in unix nanoseconds, `body` is the JSON that readers get."""

    trace_id: str
    tenant: str
    span_id: str
    parent_span_id: str | None
    name: str
    service: str
    start_ns: int
    end_ns: int
    failed: bool
    bulk: bool
    body: bytes

    @property
    def key(self) -> TraceKey:
        """Return the trace it belongs to, as the tenant sees it."""
        return self.trace_id, self.tenant


@dataclass(frozen=True, slots=True)
class TraceRecord:
    """What the spans of a trace come to; `bulk` is one that brings documents in.

    `first_ns` is the start of the span that gave the name, `received_ns` when the last spans came.
    """

    trace_id: str
    tenant: str
    name: str
    service: str
    services: str
    rooted: bool
    first_ns: int
    start_ns: int
    end_ns: int
    duration_ns: int
    spans: int
    dropped: int
    failed: bool
    bulk: bool
    received_ns: int

    @classmethod
    def of(cls, span: KeptSpan, received_ns: int) -> Self:
        """Return the record of a trace of which nothing is known but this span."""
        return cls(
            trace_id=span.trace_id,
            tenant=span.tenant,
            name=span.name,
            service=span.service,
            services=join_services([span.service]),
            rooted=span.parent_span_id is None,
            first_ns=span.start_ns,
            start_ns=span.start_ns,
            end_ns=span.end_ns,
            duration_ns=span.end_ns - span.start_ns,
            spans=0,
            dropped=0,
            failed=False,
            bulk=False,
            received_ns=received_ns,
        )

    def with_span(self, span: KeptSpan, received_ns: int, max_spans: int) -> Self:
        """Return the record with one more span; one too many is only counted."""
        if self.spans >= max_spans:
            return replace(self, dropped=self.dropped + 1, received_ns=received_ns)
        rooted = span.parent_span_id is None
        names_it = (rooted, -span.start_ns) > (self.rooted, -self.first_ns)
        start_ns, end_ns = min(self.start_ns, span.start_ns), max(self.end_ns, span.end_ns)
        return replace(
            self,
            name=span.name if names_it else self.name,
            service=span.service if names_it else self.service,
            rooted=self.rooted or rooted,
            first_ns=span.start_ns if names_it else self.first_ns,
            services=join_services([*split_services(self.services), span.service]),
            start_ns=start_ns,
            end_ns=end_ns,
            duration_ns=end_ns - start_ns,
            spans=self.spans + 1,
            failed=self.failed or span.failed,
            bulk=self.bulk or span.bulk,
            received_ns=received_ns,
        )


def merge(
    known: Mapping[TraceKey, TraceRecord], spans: Iterable[KeptSpan], received_ns: int, max_spans: int
) -> tuple[dict[TraceKey, TraceRecord], list[KeptSpan]]:
    """Return the records that change with these spans, and the spans that a trace of `max_spans` has room for."""
    changed: dict[TraceKey, TraceRecord] = {}
    kept = []
    for span in spans:
        before = changed.get(span.key) or known.get(span.key) or TraceRecord.of(span, received_ns)
        changed[span.key] = after = before.with_span(span, received_ns, max_spans)
        if after.spans > before.spans:
            kept.append(span)
    return changed, kept


def join_services(names: Iterable[str]) -> str:
    """Return names as one text in which each can be found between commas."""
    unique = sorted({name.replace(_SEPARATOR, " ") for name in names})
    return f"{_SEPARATOR}{_SEPARATOR.join(unique)}{_SEPARATOR}"


def split_services(text: str) -> list[str]:
    """Return the names in such a text."""
    return [name for name in text.split(_SEPARATOR) if name]
