"""Deleting a document, or a whole collection, so that nothing shows it from the moment of the answer."""

import uuid
from dataclasses import dataclass

from contracts import subjects
from contracts.documents import IngestMessage
from contracts.messages import Message
from contracts.reads import DocumentView
from contracts.reconciliation import FencesReply, FencesRequest, IndexFence
from contracts.retrieval import FenceReply, FenceRequest
from services.gateway.nats_intake import Intake
from services.gateway.reads import Reads, no_document
from services.gateway.recent import RecentWrites
from shared.errors import Unavailable
from shared.logs import get_logger
from shared.messaging.publishing import Publisher
from shared.messaging.requests import Requester
from shared.telemetry import current_trace_id

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Deleted:
    """The revision as of which a document, or everything in a collection, is gone."""

    collection: str
    revision: int


class Deletion:
    """Records deletes and has the index hide what they delete."""

    def __init__(
        self, publisher: Publisher, requester: Requester, reads: Reads, recent: RecentWrites, intake: Intake
    ) -> None:
        self._publisher = publisher
        self._requester = requester
        self._reads = reads
        self._recent = recent
        self._intake = intake

    async def delete(self, tenant: str, document_id: str) -> Deleted:
        """Return once the delete is stored and the document is invisible on every replica.

        NotFound when there is no such document; Unavailable with code `not_recorded_yet` while it may be one of those
        that are still to be recorded, `delete_not_confirmed` when the delete is stored but the index could not be told.
        """
        view = await self._known(tenant, document_id)
        deleted = self._deleted_before(tenant, document_id, view) or await self._record(tenant, document_id, view)
        fence = FenceRequest(tenant=tenant, document_id=document_id, floor=deleted.revision)
        await self._hide(subjects.INDEX_FENCE, fence, FenceReply, deleted.revision)
        return deleted

    async def delete_collection(self, tenant: str, name: str) -> Deleted:
        """Return once the delete is stored and everything that was accepted before it is invisible on every replica.

        NotFound when there is no such collection; Unavailable as for a document.
        """
        await self._reads.require_collection(tenant, name)
        revision = await self._publish(tenant, IngestMessage(op="delete_collection", collection=name))
        fence = IndexFence(tenant=tenant, collection=name, floor=revision)
        await self._hide(subjects.INDEX_FENCES, FencesRequest(fences=[fence]), FencesReply, revision)
        return Deleted(name, revision)

    async def _known(self, tenant: str, document_id: str) -> DocumentView | None:
        """Return the document as it is recorded; None when this replica alone knows of it, or nobody."""
        view = await self._reads.recorded(tenant, document_id)
        if view is None and self._recent.find(tenant, document_id) is None:
            # Accepted by another replica, or straight from a producer: a wrong "not found" would leave it searchable.
            await self._intake.catch_up()
            view = await self._reads.recorded(tenant, document_id)
        return view

    def _deleted_before(self, tenant: str, document_id: str, view: DocumentView | None) -> Deleted | None:
        write = self._recent.find(tenant, document_id)
        if view is None or view.status != "deleted" or (write is not None and write.revision > view.revision):
            return None
        return Deleted(view.collection, view.revision)

    async def _record(self, tenant: str, document_id: str, view: DocumentView | None) -> Deleted:
        write = self._recent.find(tenant, document_id)
        known = view or write
        if known is None:
            raise no_document(document_id)
        message = IngestMessage(op="delete", id=document_id, collection=known.collection)
        revision = await self._publish(tenant, message)
        self._recent.record(tenant, document_id, revision, known.collection)
        return Deleted(known.collection, revision)

    async def _publish(self, tenant: str, message: IngestMessage) -> int:
        published = await self._publisher.publish(
            subjects.ingest(tenant),
            message,
            tenant=tenant,
            message_id=uuid.uuid4().hex,
            headers={subjects.HEADER_CORRELATION_ID: current_trace_id()},
        )
        return published.sequence

    async def _hide(self, subject: str, fence: Message, reply: type[Message], revision: int) -> None:
        try:
            await self._requester.ask(subject, fence, reply)
        except Exception as error:  # Whatever failed, the caller must know that the delete is recorded.
            log.warning("delete_not_confirmed", revision=revision, reason=error)
            raise Unavailable(
                f"the delete is recorded as revision {revision} and will be carried out, but the index did not confirm "
                "yet that it hides what is deleted; ask again to have it confirmed",
                code="delete_not_confirmed",
            ) from error
