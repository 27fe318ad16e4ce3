"""What persistence knows of a revision that the parser is given once more."""

from contracts import subjects
from contracts.reads import DocumentQuery, DocumentView
from shared.errors import NotFound
from shared.messaging.requests import Requester


class Recorded:
    """Asks persistence."""

    def __init__(self, requester: Requester) -> None:
        self._requester = requester

    async def is_parsed(self, tenant: str, document_id: str, revision: int) -> bool:
        """Tell whether a revision is known to be parsed, or outdated; Unavailable when persistence does not answer."""
        query = DocumentQuery(tenant=tenant, document_id=document_id)
        try:
            view = await self._requester.ask(subjects.READ_DOCUMENT, query, DocumentView)
        except NotFound:
            return False
        return view.revision > revision or (view.revision == revision and view.chunks.total > 0)
