"""Accepting documents: published side by side, and in the request's order for each document id."""

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence

from contracts import subjects
from contracts.reads import IdempotencyRecord
from services.gateway.idempotency import IdempotencyKey, SeenKeys, check_same
from services.gateway.nats_uploads import Uploads
from services.gateway.problems import RequestProblem, status_of
from services.gateway.quota_desk import QuotaDesk
from services.gateway.receipts import Receipt
from services.gateway.recent import RecentWrites
from services.gateway.submissions import Submission
from shared.errors import Overloaded, PlatformError, Rejected, Retryable
from shared.messaging.publishing import Published, Publisher
from shared.quotas import Place, Room
from shared.telemetry import current_trace_id


class Ingestion:
    """Publishes documents so that each one is either accepted or named as not accepted."""

    def __init__(
        self,
        publisher: Publisher,
        uploads: Uploads,
        seen: SeenKeys,
        recent: RecentWrites,
        quota_desk: QuotaDesk,
        *,
        concurrency: int,
    ) -> None:
        self._publisher = publisher
        self._uploads = uploads
        self._seen = seen
        self._recent = recent
        self._quota_desk = quota_desk
        self._concurrency = concurrency

    async def accept(self, tenant: str, submissions: Sequence[Submission], key: IdempotencyKey | None) -> list[Receipt]:
        """Return a receipt for every document, once all are stored.

        Raises RequestProblem: 422 when the key was used for something else, 403 when the tenant's quota has no room for
        what is new (nothing is published then), 503 with the receipts of those that were accepted when the queue took
        only some.
        """
        receipts = await self._seen_before(tenant, submissions, key)
        new = [submission for index, submission in enumerate(submissions) if index not in receipts]
        try:
            with await self._quota_desk.take(tenant, new) as room:
                failure = await self._publish_missing(tenant, submissions, key, receipts, room)
        except PlatformError as error:
            failure = error
        accepted = [receipts[index] for index in sorted(receipts)]
        if failure is not None:
            raise _with_accepted(failure, accepted)
        return accepted

    async def _seen_before(
        self, tenant: str, submissions: Sequence[Submission], key: IdempotencyKey | None
    ) -> dict[int, Receipt]:
        if key is None:
            return {}
        records = await self._seen.find(tenant, [key.of(index) for index in range(len(submissions))])
        receipts: dict[int, Receipt] = {}
        for index, submission in enumerate(submissions):
            if record := records.get(key.of(index)):
                check_same(record, submission.digest)
                receipts[index] = _duplicate(record)
        return receipts

    async def _publish_missing(
        self,
        tenant: str,
        submissions: Sequence[Submission],
        key: IdempotencyKey | None,
        receipts: dict[int, Receipt],
        room: Room,
    ) -> PlatformError | None:
        """Publish what has no receipt yet; after the first failure nothing more is started."""
        failures: list[PlatformError] = []
        slots = asyncio.Semaphore(self._concurrency)

        async def publish_in_order(indices: Iterable[int]) -> None:
            for index in indices:
                async with slots:
                    if failures:
                        return
                    try:
                        receipt = await self._publish(tenant, submissions[index], key, index)
                    except PlatformError as error:
                        failures.append(error)
                        return
                    receipts[index] = receipt
                    if not receipt.duplicate:
                        room.added(receipt.document_id, Place(ingest=receipt.revision))

        await asyncio.gather(*(publish_in_order(group) for group in _by_document(submissions, receipts)))
        return failures[0] if failures else None

    async def _publish(self, tenant: str, submission: Submission, key: IdempotencyKey | None, index: int) -> Receipt:
        headers = {
            subjects.HEADER_CONTENT_TYPE: subjects.CONTENT_TYPE_JSON,
            subjects.HEADER_CORRELATION_ID: current_trace_id(),
        }
        if key is not None:
            headers[subjects.HEADER_IDEMPOTENCY] = key.of(index)
        if submission.blob is not None:
            headers[subjects.HEADER_SIZE] = str(submission.size_bytes)
        message_id = key.of(index) if key else uuid.uuid4().hex
        published = await self._store(tenant, submission, message_id, headers)
        # Without a key a repeated message id is our own second try after a lost acknowledgement.
        if key is not None and published.duplicate:
            record = await self._seen.settle(tenant, message_id)
            check_same(record, submission.digest)
            return _duplicate(record)
        collection = submission.message.collection
        self._recent.record(tenant, submission.document_id, published.sequence, collection)
        return Receipt(submission.document_id, collection, published.sequence)

    async def _store(self, tenant: str, submission: Submission, message_id: str, headers: dict[str, str]) -> Published:
        name = submission.message.object
        if submission.blob is not None and name is not None:
            await self._uploads.put(name, submission.blob)
        try:
            return await self._publisher.publish_bytes(
                subjects.ingest(tenant), submission.payload, tenant=tenant, message_id=message_id, headers=headers
            )
        except (Overloaded, Rejected):
            # Only these say for certain that no message refers to the payload.
            if name is not None:
                await self._uploads.discard(name)
            raise


def _by_document(submissions: Sequence[Submission], receipts: dict[int, Receipt]) -> list[list[int]]:
    """Return the places of what is to be published, grouped by document id, each group in the request's order."""
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for index, submission in enumerate(submissions):
        if index not in receipts:
            groups[submission.document_id].append(index)
    return list(groups.values())


def _duplicate(record: IdempotencyRecord) -> Receipt:
    return Receipt(record.document_id, record.collection, record.revision, duplicate=True)


def _with_accepted(error: PlatformError, accepted: Sequence[Receipt]) -> PlatformError:
    if not accepted:
        return error
    error_extra = error.extra if isinstance(error, RequestProblem) else {}
    return RequestProblem(
        status_of(error),
        error.error_code,
        f"{len(accepted)} of the documents were accepted, the rest was not: {error.message}",
        field=error.field,
        extra={**error_extra, "accepted": [receipt.as_json() for receipt in accepted]},
        retry_after_seconds=error.retry_after_seconds if isinstance(error, Retryable) else None,
    )
