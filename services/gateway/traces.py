"""Traces of one tenant, as the local span store has them."""

from contracts import subjects
from contracts.traces import TraceListQuery, TracePage, TraceQuery, TraceView
from shared.messaging.requests import Requester


class Traces:
    """Asks persistence; raises what it raises, Unavailable when it does not answer."""

    def __init__(self, requester: Requester) -> None:
        self._requester = requester

    async def trace(self, tenant: str, trace_id: str) -> TraceView:
        """Return one trace; NotFound when the tenant has none of this id."""
        return await self._requester.ask(subjects.READ_TRACE, TraceQuery(tenant=tenant, trace_id=trace_id), TraceView)

    async def page(self, query: TraceListQuery) -> TracePage:
        """Return a page of traces."""
        return await self._requester.ask(subjects.READ_TRACES, query, TracePage)
