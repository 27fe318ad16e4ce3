"""What the retriever answers to the keeper of the database."""

from contracts import subjects
from contracts.reconciliation import (
    FencesReply,
    FencesRequest,
    RemoveReply,
    RemoveRequest,
    RevisionsReply,
    RevisionsRequest,
)
from services.retriever.auditing import Auditing
from shared.service import Service


class AuditHandlers:
    """One method per request."""

    def __init__(self, auditing: Auditing) -> None:
        self._auditing = auditing

    def bind(self, service: Service) -> None:
        """Answer the requests; listings and removals one at a time, so that searches come between them."""
        service.respond(subjects.INDEX_REVISIONS, RevisionsRequest, self.on_revisions, concurrency=1)
        service.respond(subjects.INDEX_FENCES, FencesRequest, self.on_fences)
        service.respond(subjects.INDEX_REMOVE, RemoveRequest, self.on_remove, concurrency=1)

    async def on_revisions(self, request: RevisionsRequest, _deadline: float | None) -> RevisionsReply:
        """List what is stored."""
        return await self._auditing.revisions(request)

    async def on_fences(self, request: FencesRequest, _deadline: float | None) -> FencesReply:
        """Lift fences, or look at them."""
        return await self._auditing.fences(request)

    async def on_remove(self, request: RemoveRequest, _deadline: float | None) -> RemoveReply:
        """Remove what should not be there."""
        return await self._auditing.remove(request)
