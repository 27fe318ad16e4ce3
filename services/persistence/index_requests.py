"""The index as persistence reaches it: requests to the retriever."""

from collections.abc import Sequence
from typing import TypeVar

from contracts import subjects
from contracts.messages import Message
from contracts.reconciliation import (
    MAX_REVISIONS_PER_PAGE,
    FencesReply,
    FencesRequest,
    IndexFence,
    RemoveReply,
    RemoveRequest,
    RevisionsReply,
    RevisionsRequest,
    StoredRevision,
)
from shared.errors import DeadlineExpired, Unavailable
from shared.messaging.requests import Requester

A = TypeVar("A", bound=Message)


class IndexRequests:
    """Every call raises Unavailable when no retriever does it in time."""

    def __init__(self, requester: Requester) -> None:
        self._requester = requester

    async def revisions(self, after: int, limit: int) -> RevisionsReply:
        """Return a page of what is stored."""
        return await self._ask(subjects.INDEX_REVISIONS, RevisionsRequest(after=after, limit=limit), RevisionsReply)

    async def highest_above(self, revision: int) -> int:
        """Return a revision above the given one of which the index holds something, 0 when it holds none."""
        found = [entry.revision for entry in (await self.revisions(revision, 1)).entries]
        return max(found, default=0)

    async def fences(self, fences: Sequence[IndexFence], *, look: bool = False) -> FencesReply:
        """Lift fences, or only look, and return those that were lower."""
        behind: list[IndexFence] = []
        for start in range(0, len(fences), MAX_REVISIONS_PER_PAGE):
            request = FencesRequest(fences=list(fences[start : start + MAX_REVISIONS_PER_PAGE]), look=look)
            behind += (await self._ask(subjects.INDEX_FENCES, request, FencesReply)).behind
        return FencesReply(behind=behind)

    async def remove(self, revisions: Sequence[StoredRevision]) -> None:
        """Remove revisions."""
        for start in range(0, len(revisions), MAX_REVISIONS_PER_PAGE):
            request = RemoveRequest(revisions=list(revisions[start : start + MAX_REVISIONS_PER_PAGE]))
            await self._ask(subjects.INDEX_REMOVE, request, RemoveReply)

    async def _ask(self, subject: str, request: Message, reply: type[A]) -> A:
        try:
            return await self._requester.ask(subject, request, reply)
        except DeadlineExpired as error:
            # Nobody waits for this request any more, but the work that it is a part of must not be dropped.
            raise Unavailable(f"the index did not answer {subject} in time") from error
